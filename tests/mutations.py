"""Take out the guard against each fault, and see that its test fails: python tests/mutations.py.

Works on a copy of the tree. A test that still passes without its guard shows nothing; then the
script says so and exits with 1. Names of tests given as arguments choose among the rows.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

# What takes long to load is loaded once, before the children that test one mutation each.
import numba  # noqa: F401
import pytest
import torch  # noqa: F401
import typer  # noqa: F401

ROOT = Path(__file__).parents[1]

# test function, file of the guard, the guard, what stands in its place.
MUTATIONS = [
    (
        "test_features_killed_anywhere_go_on_with_one_chunk_lost_at_most",
        "subsetsel/influence/features/store.py",
        "        self.features.flush()\n",
        "        write_json(self._folder / _MANIFEST, "
        'self._about | {"num_done": len(self.labels)})\n',
    ),
    (
        "test_unfinished_features_do_not_look_whole",
        "subsetsel/influence/features/store.py",
        '{name}.npy.part"',
        '{name}.npy"',
    ),
    (
        "test_features_cut_short_are_refused",
        "subsetsel/influence/features/store.py",
        '        np.lib.format.open_memmap(path, mode="r")\n',
        "",
    ),
    (
        "test_a_forged_manifest_of_features_is_refused",
        "subsetsel/influence/features/store.py",
        'if type(num_done) is not int or not 0 < num_done <= max(1, about["shape"][0]):',
        "if False:",
    ),
    (
        "test_a_killed_pruning_chooses_nothing_twice",
        "subsetsel/guarantee/checkpoint.py",
        "        if self._path is None:\n",
        "        if self._path is not None:\n",
    ),
    (
        "test_choices_killed_anywhere_are_whole",
        "subsetsel/guarantee/checkpoint.py",
        "        with written_whole(path) as part, part.open(",
        "        part = path\n        with part.open(",
    ),
    (
        "test_a_full_disk_ends_the_keeping_but_not_the_search",
        "subsetsel/guarantee/checkpoint.py",
        "        except OSError as error:\n",
        "        except KeyError as error:\n",
    ),
    (
        "test_progress_of_another_run_is_refused",
        "subsetsel/guarantee/checkpoint.py",
        '    if str(found["fingerprint"]) != fingerprint:',
        "    if False:",
    ),
    (
        "test_a_forged_progress_is_refused",
        "subsetsel/guarantee/checkpoint.py",
        "    if not _is_sound(",
        "    if False and not _is_sound(",
    ),
    (
        "test_a_comparison_killed_anywhere_goes_on",
        "subsetsel/support/files.py",
        "        yield part\n",
        "        yield target\n        return\n",
    ),
    (
        "test_each_training_is_on_the_disk_before_the_next_begins",
        "subsetsel/experiments/runs.py",
        "                self.add(record)\n",
        "                self._records[record['key']] = record\n",
    ),
    (
        "test_a_torn_line_is_passed_over",
        "subsetsel/experiments/runs.py",
        "suppress(ValueError, KeyError, TypeError, RecursionError)",
        "suppress(KeyError)",
    ),
    (
        "test_a_subset_killed_anywhere_is_the_old_or_the_new_one",
        "subsetsel/support/files.py",
        "        part.replace(target)\n",
        "        target.unlink(missing_ok=True)\n        part.rename(target)\n",
    ),
    (
        "test_a_subset_killed_while_its_bytes_are_written_is_not_there",
        "subsetsel/support/files.py",
        "        yield part\n",
        "        yield target\n        return\n",
    ),
    (
        "test_a_full_disk_leaves_the_old_subset_and_no_litter",
        "subsetsel/support/files.py",
        "        part.unlink(missing_ok=True)\n",
        "        pass\n",
    ),
    (
        "test_a_full_disk_is_one_line_of_the_command_line",
        "subsetsel/cli/app.py",
        "except OSError as error:",
        "except ZeroDivisionError as error:",
    ),
    (
        "test_features_that_do_not_fit_on_the_disk_are_refused_at_once",
        "subsetsel/influence/features/store.py",
        "    except OSError as error:\n        path.unlink(missing_ok=True)\n",
        "    except ZeroDivisionError as error:\n        path.unlink(missing_ok=True)\n",
    ),
    (
        "test_the_space_for_features_is_taken_before_it_is_mapped",
        "subsetsel/support/files.py",
        "os.posix_fallocate(stream.fileno(), 0, num_bytes)",
        "os.truncate(stream.fileno(), num_bytes)",
    ),
    (
        "test_space_is_taken_where_the_system_has_no_call_for_it",
        "subsetsel/support/files.py",
        "        stream.write(_ZEROS[: num_bytes - start])\n",
        "        pass\n",
    ),
    (
        "test_a_comparison_goes_on_once_there_is_room_again",
        "subsetsel/experiments/runs.py",
        "suppress(ValueError, KeyError, TypeError, RecursionError)",
        "suppress(KeyError)",
    ),
    (
        "test_a_read_only_folder_is_refused_before_the_work",
        "subsetsel/cli/output.py",
        "    with tempfile.TemporaryFile(dir=out.parent):\n        pass\n",
        "",
    ),
    (
        "test_kernels_compile_without_a_place_to_be_kept and read-only",
        "subsetsel/support/jit.py",
        "except RuntimeError as error:",
        "except ZeroDivisionError as error:",
    ),
    (
        "test_kernels_compile_without_a_place_to_be_kept and full",
        "subsetsel/support/jit.py",
        "        _forgive_a_full_disk(compiled)\n",
        "",
    ),
    (
        "test_two_runs_cannot_hold_one_folder",
        "subsetsel/support/files.py",
        "        lock.acquire()\n",
        "        pass\n",
    ),
    (
        "test_a_killed_run_holds_nothing",
        "subsetsel/support/files.py",
        "        lock.acquire()\n",
        "        if owner.exists(): raise Timeout(path)\n",
    ),
    (
        "test_two_comparisons_cannot_share_a_folder",
        "subsetsel/experiments/runs.py",
        "with locked(self.folder):",
        "with contextlib.nullcontext():",
    ),
    (
        "test_two_captures_cannot_share_a_cache",
        "subsetsel/influence/features/extract.py",
        "stack.enter_context(locked(Path(cache_dir)))",
        "pass",
    ),
    (
        "test_two_saves_of_one_name_do_not_mix",
        "subsetsel/support/files.py",
        "    part = Path(name)\n",
        "    part = target.with_name('one.part')\n    part.touch()\n",
    ),
    (
        "test_a_search_without_memory_says_what_it_needs",
        "subsetsel/support/memory.py",
        "        raise OutOfMemoryError(",
        "        raise MemoryError(",
    ),
    (
        "test_a_head_without_memory_says_what_it_needs",
        "subsetsel/support/memory.py",
        "        isinstance(error, MemoryError)\n",
        "        False\n",
    ),
    (
        "test_what_pytorch_says_of_memory_is_understood",
        "subsetsel/support/memory.py",
        '"can\'t allocate memory" in str(error)',
        "False",
    ),
    (
        "test_other_errors_are_none_of_memory",
        "subsetsel/support/memory.py",
        "if isinstance(error, OutOfMemoryError) or not _is_about_memory(error):",
        "if False:",
    ),
    (
        "test_free_memory_knows_the_limit_of_the_process",
        "subsetsel/support/memory.py",
        "*_allowed(), ",
        "",
    ),
    (
        "test_ctrl_c_twice_stops_at_once and bound",
        "subsetsel/cli/app.py",
        "except KeyboardInterrupt:",
        "except ZeroDivisionError:",
    ),
    (
        "test_ctrl_c_twice_stops_at_once and manifest",
        "subsetsel/cli/output.py",
        "written_whole(out) as subset, written_whole(beside) as record:",
        "written_whole(beside) as record:\n        subset = out",
    ),
    (
        "test_two_solves_at_once_are_as_each_alone and greedy",
        "subsetsel/engine/run.py",
        "        self.problem = problem\n",
        "        self.__dict__ = vars(threading).setdefault('shared', {})\n"
        "        self.problem = problem\n",
    ),
    (
        "test_workers_started_as_the_user_says and spawn",
        "subsetsel/influence/features/batches.py",
        "            **(self._start if self._workers else {}),\n",
        "",
    ),
    (
        "test_a_worker_that_is_killed_is_one_error_that_helps",
        "subsetsel/influence/features/batches.py",
        "except RuntimeError as error:",
        "except ZeroDivisionError as error:",
    ),
    (
        "test_edge_numbers_are_solved_or_left_alone and beside and greedy",
        "subsetsel/rows/base.py",
        "    if _SMALLEST < norm < _GREATEST or not vector.size:\n",
        "    if True:\n",
    ),
    (
        "test_what_fuzzing_found_is_solved",
        "subsetsel/problem/problem.py",
        "epsilon = min(self.epsilon, _LARGEST_RADIUS)",
        "epsilon = self.epsilon",
    ),
    (
        "test_what_fuzzing_found_is_solved",
        "subsetsel/bounds/relaxation.py",
        "min(_LARGEST_LAM, max(1.0 / _LARGEST_LAM, lam))",
        "lam",
    ),
    (
        "test_numbers_beyond_all_measure_are_refused",
        "subsetsel/rows/dense.py",
        "if 0 < overall < _SMALLEST:",
        "if False:",
    ),
    (
        "test_a_norm_is_right_at_any_scale",
        "subsetsel/rows/base.py",
        "    if _SMALLEST < norm < _GREATEST or not vector.size:\n",
        "    if True:\n",
    ),
    (
        "test_pickles_are_never_loaded",
        "subsetsel/support/npz.py",
        "    if dtype.hasobject:\n",
        "    if False:\n",
    ),
    (
        "test_a_claimed_size_is_checked_before_anything_is_allocated",
        "subsetsel/support/npz.py",
        "            _check_header(path, name, stream, member.file_size)\n",
        "            pass\n",
    ),
    (
        "test_a_directory_that_claims_too_much_is_refused",
        "subsetsel/support/npz.py",
        "    if member.file_size > num_stored * (1 if is_stored else _LARGEST_RATIO):\n",
        "    if False:\n",
    ),
    (
        "test_items_of_no_bytes_are_not_endless",
        "subsetsel/support/npz.py",
        "num_items > 0 and dtype.itemsize == 0",
        "False",
    ),
    (
        "test_a_bomb_is_refused_before_it_is_unpacked",
        "subsetsel/support/npz.py",
        '    check_fits(f"{path}: array {name!r}", member.file_size)\n',
        "",
    ),
    (
        "test_a_method_that_numpy_does_not_write_is_refused",
        "subsetsel/support/npz.py",
        "    if member.compress_type not in _METHODS:\n",
        "    if False:\n",
    ),
    (
        "test_a_manifest_with_anything_anywhere_is_read_or_refused",
        "subsetsel/report/manifest.py",
        'if not all(_is_input(item) for item in record["inputs"]):',
        "if False:",
    ),
    (
        "test_a_manifest_with_anything_anywhere_is_read_or_refused",
        "subsetsel/cli/settings.py",
        "            plan._require_types()\n",
        "",
    ),
    (
        "test_a_subset_and_a_manifest_of_two_runs_are_told_apart",
        "subsetsel/cli/verify.py",
        "if not np.isnan(solution.norm) and (",
        "if False and (",
    ),
]


def main() -> int:
    """Try every row."""
    # Started in the background of a shell Ctrl-C is ignored, and so it would be in the tests.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    chosen = [row for row in MUTATIONS if not sys.argv[1:] or row[0].split()[0] in sys.argv[1:]]
    survivors = []
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder).resolve() / "tree"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".git", ".venv", "results"))
        # The folder solvers/ is mapped to subsetsel.solvers only once it is installed.
        (copy / "subsetsel" / "solvers").symlink_to(copy / "solvers")
        for test, file, guard, instead in chosen:
            started = time.monotonic()
            path = copy / file
            before = path.read_text()
            if guard not in before:
                raise SystemExit(f"{file} does not hold the guard of {test}:\n{guard}")
            path.write_text(before.replace(guard, instead))
            is_caught = _fails(copy, test)
            path.write_text(before)
            seconds = time.monotonic() - started
            print(f"{'caught' if is_caught else 'SURVIVED':<9}{test} ({seconds:.0f} s)", flush=True)
            if not is_caught:
                survivors.append(test)
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} guards are missed when taken out")
    return bool(survivors)


def _fails(copy: Path, test: str) -> bool:
    """Run one test on the copy, in a child in which nothing of subsetsel is imported yet."""
    name = test.split()[0]
    (file,) = [p for p in (copy / "tests").glob("test_*.py") if f"def {name}(" in p.read_text()]
    child = os.fork()
    if child == 0:
        _run_test(copy, file, test)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if code not in {0, 1}:
        raise SystemExit(f"{test} could not be run ({code}):\n{(copy / 'output').read_text()}")
    return code == 1


def _run_test(copy: Path, file: Path, test: str) -> None:
    code = 2
    try:
        os.chdir(copy)
        sys.path.insert(0, str(copy))
        os.environ["PYTHONPATH"] = str(copy)
        output = os.open(copy / "output", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        code = int(pytest.main(["-qx", "-pno:cacheprovider", str(file), "-k", test]))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


if __name__ == "__main__":
    sys.exit(main())
