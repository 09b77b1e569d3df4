"""Model repositories: where Triton reads models from."""

from model_repository_tools.repository.folder import FolderRepository, StagedVersion

__all__ = ["FolderRepository", "StagedVersion"]
