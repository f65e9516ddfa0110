"""What only a zip can hold."""

import zipfile

import pytest
from made_archives import CAT, DOG, make_zip

from unfreeze.core.console import UserError


def zip_crypto(data: bytes, password: bytes, checksum: int) -> bytes:
    """PKWARE's traditional encryption, as in section 6.1 of its APPNOTE."""
    crc = [*range(256)]
    for _ in range(8):
        crc = [c >> 1 ^ 0xEDB88320 if c & 1 else c >> 1 for c in crc]
    keys = [0x12345678, 0x23456789, 0x34567890]

    def update(byte: int) -> None:
        keys[0] = keys[0] >> 8 ^ crc[(keys[0] ^ byte) & 255]
        keys[1] = (keys[1] + (keys[0] & 255)) * 134775813 + 1 & 0xFFFFFFFF
        keys[2] = keys[2] >> 8 ^ crc[(keys[2] ^ keys[1] >> 24) & 255]

    for byte in password:
        update(byte)
    out = bytearray()
    for byte in bytes(11) + bytes([checksum >> 24]) + data:
        key = keys[2] & 0xFFFF | 2
        out.append(byte ^ (key * (key ^ 1) >> 8 & 255))
        update(byte)
    return bytes(out)


def test_encrypted_zips(tmp_path, unpack):
    data = bytearray(make_zip(tmp_path / "a.zip", {"1.png": zip_crypto(CAT, b"secret", 0)}, 0).read_bytes())
    crc = zipfile.crc32(CAT)
    secret = zip_crypto(CAT, b"secret", crc)
    local, central = data.index(b"PK\x03\x04"), data.index(b"PK\x01\x02")
    start = local + 30 + len("1.png")
    data[start : start + len(secret)] = secret
    for header, flags, sum_at, size_at in ((local, 6, 14, 22), (central, 8, 16, 24)):
        data[header + flags] |= 1
        data[header + sum_at : header + sum_at + 4] = crc.to_bytes(4, "little")
        data[header + size_at : header + size_at + 4] = len(CAT).to_bytes(4, "little")
    source = tmp_path / "crypto.zip"
    source.write_bytes(data)
    assert unpack(source, password="secret").files == {"1.png": CAT}
    with pytest.raises(UserError, match="is encrypted; set"):
        unpack(source)
    with pytest.raises(UserError, match="the password is wrong"):
        unpack(source, password="wrong")
    data[central + 10] = 99
    source.write_bytes(data)
    with pytest.raises(UserError, match=r"crypto\.zip uses AES encryption for '1\.png'"):
        unpack(source, password="secret")


def test_a_header_that_lies_about_the_size_is_refused(tmp_path, unpack):
    data = bytearray(make_zip(tmp_path / "a.zip", {"1.png": DOG}).read_bytes())
    for header, at in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        start = data.index(header) + at
        data[start : start + 4] = (10).to_bytes(4, "little")
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(UserError, match=r"a\.zip: 1\.png is damaged"):
        unpack(tmp_path / "a.zip", max_bytes=1000)
