"""Files that hold tokens."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from running import PATIENCE, command, own_site, secret

from hactrl.agent.main import main as agent
from hactrl.tokens import header_token, read_secret


def test_what_only_its_owner_may_read_is_read(tmp_path: Path) -> None:
    for mode in (0o600, 0o400):
        file = secret(tmp_path / f"{mode:o}", "ä token\n", mode)
        assert read_secret(file) == "ä token\n"


@pytest.mark.reported("C7")
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o602, 0o666])
def test_what_others_may_read_or_change_is_refused_with_the_command_that_mends_it(
    tmp_path: Path, mode: int
) -> None:
    file = secret(tmp_path / "a token", "secret", mode)
    with pytest.raises(ValueError, match=rf"mode {mode:04o}\); `chmod 600 '{file}'`"):
        read_secret(file)


def test_a_pipe_is_no_file_with_a_mode() -> None:
    """As a shell passes what a program prints."""
    reader, writer = os.pipe()
    os.write(writer, b"secret")
    os.close(writer)
    assert read_secret(Path(f"/dev/fd/{reader}")) == "secret"
    os.close(reader)


@pytest.mark.reported("C7")
@pytest.mark.parametrize("content", [b"one: a\ntwo: \xff\n", b"\n\xed\xb2\x80"])
def test_what_is_no_text_is_named_by_its_line(tmp_path: Path, content: bytes) -> None:
    file = secret(tmp_path / "tokens", content)
    with pytest.raises(ValueError, match=f"{file}:2: not UTF-8"):
        read_secret(file)


@pytest.mark.parametrize("token", ["abc", "with space", "", "~!@/+="])
def test_a_header_takes_printable_ascii(token: str) -> None:
    assert header_token(token, "here") == token


@pytest.mark.reported("C7")
@pytest.mark.parametrize("token", ["\udcff", "ü", "a\nb", "a\rb", "\x00"])
def test_a_header_takes_nothing_else(token: str) -> None:
    with pytest.raises(ValueError, match=r"^here: "):
        header_token(token, "here")


@pytest.mark.reported("C7")
@pytest.mark.parametrize(
    ("name", "content", "mode", "words"),
    [
        ("agent-tokens", b"one: a\n", 0o644, "chmod 600"),
        ("operator-token", b"\xff", 0o600, "UTF-8"),
    ],
)
def test_a_controller_does_not_start_with_them(
    tmp_path: Path, name: str, content: bytes, mode: int, words: str
) -> None:
    site = own_site(tmp_path)
    secret(tmp_path / name, content, mode)
    done = subprocess.run(
        command(site), capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 1
    assert f"ryu-manager: {tmp_path / name}" in done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.reported("C7")
def test_an_agent_does_not_start_with_a_token_that_others_may_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    token = secret(tmp_path / "token", "known to all", 0o644)
    file = tmp_path / "agent.toml"
    file.write_text(
        f'server = "one"\ncontrollers = ["127.0.0.1:6655"]\ntoken_file = "{token}"\n'
        f'state_directory = "{tmp_path}/state"\nrun_directory = "{tmp_path}/run"\n'
        '[roles.web]\nassume = ["true"]\nstandby = ["true"]\n'
    )
    assert agent([str(file)]) == 1
    assert f"chmod 600 {token}" in capsys.readouterr().err
    assert not (tmp_path / "state").exists()
