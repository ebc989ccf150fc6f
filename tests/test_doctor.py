"""The doctor names what is wrong and what to do."""

import json

import pytest

from pirl import doctor


def test_all_checks_pass_here_and_are_written(tmp_path, capsys):
    output = tmp_path / "doctor.json"
    doctor.main(["--output", str(output)])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(doctor.CHECKS)
    assert all(line.startswith("ok ") for line in lines)
    assert [check["name"] for check in json.loads(output.read_text())] == list(doctor.CHECKS)


def test_missing_rendering_is_reported_with_the_packages(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "egl")
    monkeypatch.setenv("__EGL_VENDOR_LIBRARY_FILENAMES", str(tmp_path / "none.json"))
    output = tmp_path / "doctor.json"
    with pytest.raises(SystemExit):
        doctor.main(["--only", "rendering", "--output", str(output)])
    line = capsys.readouterr().out
    assert line.startswith("FAIL  rendering: ")
    assert "apt-get install -y libegl1" in line
    assert not output.exists()
