"""What only true processes show: exit codes, streams, a terminal, signals, a full disk, and what is imported."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from dpt_process import COMMAND, SMALL, dpt, environment, save_pictures

from dptkit import read_depth
from dptkit.image_io import read_metadata
from dptkit.version import __version__

posix = pytest.mark.skipif(os.name != "posix", reason="POSIX only")

QUICK = """
import contextlib, io, sys
from dptkit.cli.main import main
for arguments in {calls!r}:
    sys.argv = ["dpt", *arguments]
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            main()
    except SystemExit as end:
        code = end.code or 0
    heavy = sorted({{"torch", "cv2", "safetensors", "huggingface_hub"}} & set(sys.modules))
    print(arguments, code, len(said.getvalue()) > 0, heavy)
"""


def test_version_help_models_and_mistakes_need_no_torch(tmp_path: Path) -> None:
    calls = [
        (["--version"], 0),
        (["--help"], 0),
        (["-h"], 0),
        *(([verb, "--help"], 0) for verb in ("depth", "segment", "models", "pull", "convert")),
        (["models"], 0),
        (["models", "--json"], 0),
        (["pull", "dpt-lite"], 0),
        (["depth"], 2),
        (["depht"], 2),
        (["depth", "a.png", "--format", "gif"], 2),
        (["pull", "dpt-larg"], 2),
    ]
    env = environment(DPTKIT_CACHE=str(tmp_path))
    script = QUICK.format(calls=[arguments for arguments, _ in calls])
    ran = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, timeout=60)
    assert ran.stderr == ""
    assert ran.stdout.splitlines() == [f"{arguments} {code} True []" for arguments, code in calls]


def test_version_and_help_on_standard_output() -> None:
    version, usage = dpt("--version"), dpt("--help")
    assert (version.returncode, version.stdout, version.stderr) == (0, f"dpt {__version__}\n", "")
    assert (usage.returncode, usage.stderr) == (0, "")
    for verb in ("depth", "segment", "models", "pull", "convert"):
        assert re.search(rf"^  {verb} ", usage.stdout, re.MULTILINE)


def test_exit_codes_and_streams(tmp_path: Path) -> None:
    folder = save_pictures(tmp_path / "in", 2)
    good = dpt("depth", folder, "-o", tmp_path / "out", "--json", *SMALL)
    assert (good.returncode, good.stderr) == (0, f"dpt: 2 of 2 done; results in {tmp_path}/out\n")
    assert [json.loads(line)["model"] for line in good.stdout.splitlines()] == ["dpt-lite"] * 2
    (folder / "bad.png").touch()
    bad = dpt("depth", folder, "-o", tmp_path / "out", "--skip-existing", *SMALL)
    assert bad.returncode == 1
    assert bad.stderr.splitlines()[0] == f"dpt: {folder}/bad.png: the file is empty"
    assert bad.stderr.splitlines()[1].startswith("dpt: 0 of 3 done, 1 failed, 2 skipped")
    unknown = dpt("depth", folder, "--model", "dpt-lit", "-o", tmp_path / "out")
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert unknown.stderr == "dpt: dpt-lit: no such model or file; did you mean dpt-lite?\n"


def test_standard_input_and_a_reader_that_leaves(tmp_path: Path) -> None:
    folder = save_pictures(tmp_path / "in", 30)
    with (folder / "0000.png").open("rb") as picture:
        ran = dpt("depth", "-", "-o", tmp_path / "out", *SMALL, stdin=picture)
    assert ran.returncode == 0
    assert read_depth(tmp_path / "out" / "stdin_depth.png").size == (30, 40)
    arguments = [*COMMAND, "depth", str(folder), "-o", str(tmp_path / "left"), "--json", *SMALL]
    pipe = subprocess.PIPE
    with subprocess.Popen(arguments, stdout=pipe, stderr=pipe, text=True, env=environment()) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read()
        assert process.wait(timeout=60) == 1
    assert "Traceback" not in errors
    assert "BrokenPipe" not in errors


@pytest.mark.parametrize(
    ("encoding", "name", "options"),
    [
        # A pipe or a file on Windows; any old locale elsewhere.
        ("cp1252", "日本語.png", ()),
        ("cp1252", "日本語.png", ("--json",)),
        # A name in Latin-1 bytes, from an old archive, under a UTF-8 locale.
        ("utf-8", "caf\udce9.png", ()),
        ("utf-8", "caf\udce9.png", ("--json",)),
    ],
)
def test_a_standard_output_that_cannot_say_every_name(
    tmp_path: Path, encoding: str, name: str, options: tuple[str, ...]
) -> None:
    folder = save_pictures(tmp_path / "in", 1)
    try:
        (folder / "0000.png").rename(folder / name)
    except OSError:
        pytest.skip("this file system does not take the name")
    ran = dpt("depth", folder, "-o", tmp_path / "out", *options, *SMALL, env={"PYTHONIOENCODING": f"{encoding}:strict"})
    assert ran.returncode == 0
    assert "Traceback" not in ran.stderr
    assert len(ran.stdout.splitlines()) == 1


@posix
def test_a_full_disk_under_standard_output_is_one_line(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with Path("/dev/full").open("w") as full:
        ran = dpt("models", stdout=full)
    assert ran.returncode == 1
    assert len(ran.stderr.splitlines()) == 1


def test_the_module_and_the_command_are_the_same() -> None:
    command = Path(sys.executable).with_name("dpt")
    if not command.exists():
        pytest.skip("the package is not installed as a command here")
    ran = subprocess.run([command, "--version"], capture_output=True, text=True, timeout=60, env=environment())
    assert ran.stdout == f"dpt {__version__}\n"


def start(folder: Path, out: Path, *options: str) -> subprocess.Popen[str]:
    arguments = [*COMMAND, "depth", str(folder), "-o", str(out), *options, *SMALL]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())


@posix
def test_ctrl_c_keeps_whole_files_and_skip_existing_does_the_rest(tmp_path: Path) -> None:
    count = 90
    folder, out = save_pictures(tmp_path / "in", count, (400, 300)), tmp_path / "out"
    process = start(folder, out, "--json")
    assert process.stdout is not None
    for _ in range(3):
        json.loads(process.stdout.readline())
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    summary, interrupted = errors.splitlines()
    assert interrupted == "dpt: interrupted"
    match = re.match(rf"dpt: (\d+) of {count} done; results in ", summary)
    assert match is not None
    done = int(match[1])
    assert 3 <= done < count
    names = [path.name for path in out.iterdir()]
    assert not [name for name in names if name.startswith(".")]
    # The picture at work may have its first file already; that one is whole too.
    assert 2 * done <= len(names) <= 2 * done + 1
    for name in names:
        if name.endswith("_color.png"):
            assert read_metadata(out / name)["content"] == "depth_colour"
        else:
            assert read_depth(out / name).size == (300, 400)
    rest = dpt("depth", folder, "-o", out, "--skip-existing", *SMALL)
    assert rest.returncode == 0
    assert rest.stderr == f"dpt: {count - done} of {count} done, {done} skipped; results in {out}\n"
    assert len(list(out.iterdir())) == 2 * count


@posix
def test_ctrl_c_while_the_model_is_loaded(tmp_path: Path) -> None:
    folder = save_pictures(tmp_path / "in", 1)
    # Python sees it at once, wherever it is in its imports.
    hook = "import signal, threading, time, os; threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT)).start()"
    slow = "import dptkit.cli.loading as l, time; l.load = lambda *a, **k: time.sleep(30)"
    script = f"{hook}; {slow}; import sys; from dptkit.cli.main import main; sys.argv[0] = 'dpt'; main()"
    arguments = [sys.executable, "-c", script, "depth", str(folder), "-o", str(tmp_path / "out")]
    ran = subprocess.run(arguments, capture_output=True, text=True, timeout=25, env=environment())
    assert (ran.returncode, ran.stdout) == (130, "")
    assert ran.stderr.splitlines()[-1] == "dpt: interrupted"
    assert "Traceback" not in ran.stderr
    assert not (tmp_path / "out").exists()


@posix
def test_a_full_disk_is_one_line_a_picture_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    import resource

    folder, out = save_pictures(tmp_path / "in", 2), tmp_path / "out"
    save_pictures(tmp_path / "large", 1, (600, 400))
    (tmp_path / "large" / "0000.png").rename(folder / "large.png")
    limit = 100_000  # bytes a file; Python turns the signal of this limit into an error like that of a full disk

    def shrink() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    ran = dpt("depth", folder, "-o", out, "--format", "png16", *SMALL, preexec_fn=shrink)
    assert ran.returncode == 1
    cause, summary = ran.stderr.splitlines()
    assert cause == f"dpt: cannot write {out}/large_depth.png: File too large"
    assert summary.startswith("dpt: 2 of 3 done, 1 failed")
    assert sorted(path.name for path in out.iterdir()) == ["0000_depth.png", "0001_depth.png"]
    for path in out.iterdir():
        read_depth(path)


def on_a_terminal(*arguments: str, stdout: int | None = None) -> tuple[int, str]:
    """Exit code, and all that a terminal of 80 columns was sent. `stdout`: sent there instead."""
    import pty

    child, terminal = pty.openpty()
    env = environment(TERM="xterm-256color", COLUMNS="80")
    out = terminal if stdout is None else stdout
    process = subprocess.Popen([*COMMAND, *arguments], stdin=terminal, stdout=out, stderr=terminal, env=env)
    os.close(terminal)
    sent = b""
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and select.select([child], [], [], 90)[0]:
        try:
            data = os.read(child, 65536)
        except OSError:  # Linux says so when the last writer has gone
            break
        if not data:
            break
        sent += data
    os.close(child)
    return process.wait(timeout=30), sent.decode("utf-8")


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, str]:
    if os.name != "posix":
        pytest.skip("POSIX only")
    folder = tmp_path_factory.mktemp("terminal")
    save_pictures(folder / "in", 40, (300, 200))
    (folder / "in" / "bad.png").touch()
    inputs = [str(folder / "in" / f"{number:04}.png") for number in range(20)]
    return on_a_terminal(
        "depth", *inputs, str(folder / "in" / "bad.png"), str(folder / "in"), "-o", str(folder), *SMALL
    )


def test_a_terminal_gets_a_bar_with_count_rate_and_time_left(terminal: tuple[int, str]) -> None:
    code, sent = terminal
    assert code == 1
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", sent)
    assert re.search(r"━ +\d+/62 +\d+\.\d/s +\d:\d\d:\d\d", plain)
    assert "_depth.png" not in plain  # the lines of each picture are for files and pipes
    assert plain.rstrip().splitlines()[-1].lstrip("\r").startswith("dpt: 60 of 62 done, 2 failed; results in ")
    assert sent.count("\x1b[?25l") == sent.count("\x1b[?25h")  # the cursor is shown again


def test_a_message_on_a_terminal_has_a_line_of_its_own(terminal: tuple[int, str]) -> None:
    _, sent = terminal
    for before in sent.split("dpt: ")[:-1]:
        # What comes before on the same line has been wiped out: only control sequences may follow the last wipe.
        on_this_line = re.split(r"\n|\x1b\[2K", before)[-1]
        assert re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", on_this_line) == ""


@posix
def test_lines_go_to_a_file_although_the_bar_is_on_a_terminal(tmp_path: Path) -> None:
    folder, log = save_pictures(tmp_path / "in", 2), tmp_path / "log"
    with log.open("w") as file:
        code, _ = on_a_terminal("depth", str(folder), "-o", str(tmp_path / "out"), *SMALL, stdout=file.fileno())
    assert code == 0
    assert len(log.read_text("utf-8").splitlines()) == 2


def test_no_bar_and_no_colours_where_there_is_no_terminal(tmp_path: Path) -> None:
    folder = save_pictures(tmp_path / "in", 2)
    ran = dpt("depth", folder, "-o", tmp_path / "out", *SMALL)
    assert "\x1b" not in ran.stdout + ran.stderr
    assert "\r" not in ran.stdout + ran.stderr
    assert len(ran.stdout.splitlines()) == 2


def test_two_runs_into_one_folder_at_once(tmp_path: Path) -> None:
    folder, out = save_pictures(tmp_path / "in", 12), tmp_path / "out"
    ends: list[int] = []
    threads = [
        threading.Thread(target=lambda: ends.append(dpt("depth", folder, "-o", out, *SMALL).returncode))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ends == [0, 0]
    assert len(list(out.iterdir())) == 24
    for path in out.glob("*_depth.png"):
        read_depth(path)
