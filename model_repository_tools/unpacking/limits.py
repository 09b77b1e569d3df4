"""How much an import may bring."""

from dataclasses import dataclass

GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class UnpackLimits:
    """What one archive or folder may hold.

    Attributes:
        max_entries: Files and folders, counted together.
        max_total_bytes: Of all files, unpacked.
        max_file_bytes: Of one file, unpacked.
        max_expansion_ratio: Unpacked bytes for each byte of the archive. Real weights shrink little; a bomb made with
            deflate reaches 1,000.
        free_expansion_bytes: So many unpacked bytes are allowed at any ratio: small models of constants shrink a lot.
    """

    max_entries: int = 10_000
    max_total_bytes: int = 64 * GIB
    max_file_bytes: int = 64 * GIB
    max_expansion_ratio: float = 100.0
    free_expansion_bytes: int = 64 << 20

    def expanded_bytes(self, archive_bytes: int) -> int:
        """Return how many bytes an archive of this size may give in all."""
        by_ratio = self.free_expansion_bytes + int(archive_bytes * self.max_expansion_ratio)
        return min(self.max_total_bytes, by_ratio)
