"""What only a tar or a single compressed file can hold."""

import bz2
import gzip
import lzma
import tarfile

import pytest
from backports import zstd
from made_archives import DOG, FILES, entry, make_tar

from unfreeze.core.console import UserError


@pytest.mark.parametrize("suffix", ["gz", "bz2", "xz", "zst"])
def test_a_single_compressed_file(suffix, tmp_path, unpack):
    compress = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zst": zstd.compress}[suffix]
    (tmp_path / f"a.csv.{suffix}").write_bytes(compress(DOG))
    assert unpack(tmp_path / f"a.csv.{suffix}").files == {"a.csv": DOG}


def test_devices_are_refused(tmp_path, unpack):
    for kind in (tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE):
        with pytest.raises(UserError, match="holds 'dev/x', which is no file"):
            unpack(make_tar(tmp_path / "a.tar", FILES, entry("dev/x", kind)))
