"""Taking in archives and folders from strangers. Whatever they hold, nothing lands outside the place meant for it."""

from model_repository_tools.unpacking.limits import UnpackLimits
from model_repository_tools.unpacking.report import UnpackedFile, UnpackReport
from model_repository_tools.unpacking.unpack import unpack, unpack_to_folder
from model_repository_tools.unpacking.writer import Sink

__all__ = ["Sink", "UnpackLimits", "UnpackReport", "UnpackedFile", "unpack", "unpack_to_folder"]
