"""The wheel that `llmlab init` writes, and the commands that install extras."""

import base64
import io
import zipfile
from hashlib import sha256

from llmlab.ops import extras, wheel


def test_a_wheel_is_the_same_bytes_for_the_same_files() -> None:
    assert wheel.build() == wheel.build()


def test_a_wheel_records_each_of_its_files_by_its_hash() -> None:
    archive = zipfile.ZipFile(io.BytesIO(wheel.build()))
    lines = archive.read(f"{wheel.DIST_INFO}/RECORD").decode().splitlines()
    rows = dict(line.split(",", 1) for line in lines)
    assert set(rows) == set(archive.namelist())
    assert rows.pop(f"{wheel.DIST_INFO}/RECORD") == ","
    for name, row in rows.items():
        body = archive.read(name)
        digest = base64.urlsafe_b64encode(sha256(body).digest()).rstrip(b"=").decode()
        assert row == f"sha256={digest},{len(body)}"
    assert len(rows) > 300
    assert archive.read(f"{wheel.DIST_INFO}/METADATA").decode().count("Name: llmlab\n") == 1


def test_extras_are_installed_by_what_they_bring() -> None:
    command = extras.install_command("sandbox")
    assert command.startswith("pip install ")
    assert "'moto[server]==" in command
    assert "llmlab" not in command
    assert "torch==" in extras.install_command("trainer")
