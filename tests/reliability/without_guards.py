"""Take each guard out of a copy of the repository, one at a time: its test must fail.

`python -m tests.reliability.without_guards [WORD…]`: all guards, or those whose name holds one of the words.
Status 0: every test noticed.
"""

import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.pipeline.conftest import clone_of_the_working_tree
from tests.reliability.source_tree import occurrences, replaced

SRC = "src/tintlab/"
_MARK = "TINTLAB_WITHOUT_GUARD"
"""A variable in the environment of all that a test starts."""


@dataclass(frozen=True)
class Guard:
    """A piece of code, its replacement without the guard, and the test that must notice.

    Attributes:
        name: what it guards.
        place: file below `SRC`, a colon, and the qualified name of the function; no name for the whole file.
        code: a statement, an expression or a keyword argument there; see `source_tree`. Of a YAML file, a line.
        instead: its replacement; empty to remove the code.
        test: its name in pytest.
        times: number of occurrences.
    """

    name: str
    place: str
    code: str
    instead: str
    test: str
    times: int = 1

    @property
    def file(self) -> str:
        """The file below `SRC`."""
        return self.place.partition(":")[0]

    def count(self, source: str) -> int:
        """The number of occurrences in the file's text."""
        if not self.file.endswith(".py"):
            return source.count(self.code)
        return occurrences(source, self.place.partition(":")[2], self.code)

    def taken_out(self, source: str) -> str:
        """The file's text without the guard."""
        if not self.file.endswith(".py"):
            return source.replace(self.code, self.instead)
        return replaced(source, self.place.partition(":")[2], self.code, self.instead)


CHECKPOINTS, LOOP = "tests/gan/test_checkpoints.py", "tests/gan/test_loop.py"
PROCESS, LOCKS, STORAGE = (
    "tests/system/test_processes.py",
    "tests/system/test_locks.py",
    "tests/system/test_files.py",
)
LEFTOVERS, UNFINISHED = "tests/operations/test_dvc_repair.py", "tests/tracking/test_interrupted.py"
TRACKING, DOCTOR = "tests/tracking/test_sender.py", "tests/operations/test_doctor.py"
LEAVING, DISK, FAULTS = (f"tests/reliability/test_{name}.py" for name in ("leaving", "disk", "faults"))
KILLS = "tests/reliability/test_kills.py"
ARCHIVES, DOWNLOADS, SOURCES = (f"tests/sources/test_{name}.py" for name in ("archives", "downloads", "lock"))
PHOTOGRAPHS, NO_CODE = "tests/hostile/test_photographs.py", "tests/hostile/test_no_code.py"

GUARDS = [
    Guard("only two checkpoints stay", "gan/checkpoints.py:Checkpoints.save", "other.unlink()",
          "pass", f"{CHECKPOINTS}::test_guard_two_kept"),
    Guard("content hash of a checkpoint", "gan/checkpoints.py:_read", "name is None or hashlib.sha256(content).hexdigest()[:16] != name[2]",
          "name is None", f"{CHECKPOINTS}::test_guard_fallback_a_damaged_newest_is_passed_over_aloud"),
    Guard("weights_only", "gan/checkpoints.py:_read", "weights_only=True",
          "weights_only=False", f"{CHECKPOINTS}::test_guard_weights_only_code_in_a_checkpoint_is_not_run"),
    Guard("checkpoints are written beside their place", "gan/checkpoints.py:Checkpoints.save", "atomic_path(path)",
          "__import__('contextlib').nullcontext(path.parent.mkdir(exist_ok=True) or path)", f"{CHECKPOINTS}::test_guard_whole_files_a_full_disk_leaves_the_earlier_one"),
    Guard("what has diverged is not saved", "gan/loop.py:Training._save_checkpoint", "self._stop_if_diverged(self._means())",
          "", f"{LOOP}::test_guard_divergence_what_has_diverged_is_never_saved"),
    Guard("divergence stops", "gan/loop.py:Training._stop_if_diverged", "broken = [name for name, value in means.items() if not math.isfinite(value)]",
          "broken = []", f"{LOOP}::test_guard_divergence_keeps_the_last_good_weights"),
    Guard("collapse stops", "gan/loop.py:Training._stop_if_collapsed", "with_discriminator and means['loss_D'] < COLLAPSED_LOSS_D",
          "False", f"{LOOP}::test_guard_collapse_of_the_gan_stops_the_training"),
    Guard("a checkpoint when asked to stop", "gan/loop.py:Training.run", "self._agreed(asked_to_stop)",
          "False", f"{LOOP}::test_guard_stop_who_is_asked_to_stop_saves_after_the_step"),
    Guard("batches as functions of their number", "gan/data.py:Batches.__getitem__", "np.random.default_rng([self.seed, 1, iteration, position])",
          "np.random.default_rng()", f"{LOOP}::test_guard_workers_loader_processes_change_no_byte"),
    Guard("random state in checkpoints", "gan/networks.py:Networks.load_state_dict", "torch.set_rng_state(state['random'][own].clone())",
          "", f"{LOOP}::test_an_interrupted_training_ends_as_an_undisturbed_one"),
    Guard("optimiser state in checkpoints", "gan/networks.py:Networks.load_state_dict", 'self.generator_optimizer.load_state_dict(state["generator_optimizer"])',
          "", f"{LOOP}::test_an_interrupted_training_ends_as_an_undisturbed_one"),
    Guard("meters in checkpoints", "gan/loop.py:Training.load_state_dict", 'self.meters.load_state_dict(state["meters"])',
          "", f"{LOOP}::test_an_interrupted_training_ends_as_an_undisturbed_one"),
    Guard("the moving average in checkpoints", "gan/networks.py:Networks.load_state_dict", 'self.average.load_state_dict(state["average"])',
          "pass", f"{LOOP}::test_an_interrupted_training_ends_as_an_undisturbed_one"),
    Guard("the deadline", "system/processes.py:_end_in_time", "end_now(128 + number)",
          "return", f"{PROCESS}::test_guard_deadline_ends_a_deaf_program_with_its_children"),
    Guard("children end with a forced end", "system/processes.py:end_now", "child.kill()",
          "pass", f"{PROCESS}::test_guard_deadline_ends_a_deaf_program_with_its_children"),
    Guard("the owner watch", "system/entry_point.py:_run_watched.watched", "processes.watch_owners()",
          "", f"{PROCESS}::test_guard_owner_watch_a_stage_ends_with_whoever_started_it"),
    Guard("an orphan's forced end", "system/processes.py:_leave_with", "end_now(128 + signal.SIGTERM)",
          "", f"{PROCESS}::test_guard_owner_watch_a_stage_in_a_long_step_ends_in_5_s"),
    Guard("an owner lost before the watch", "system/processes.py:find_owners", '"DVC_STAGE" in os.environ and not working',
          "False", f"{PROCESS}::test_guard_a_stage_of_a_dead_dvc_does_not_start"),
    Guard("a named owner", "system/processes.py:find_owners", "return [*found, *_find_named_owner()]",
          "return found", f"{PROCESS}::test_guard_a_named_owner_counts_across_sessions"),
    Guard("workers end with their parent", "system/processes.py:worker_pool", "initializer=be_pool_worker",
          "initializer=None", f"{PROCESS}::test_guard_pool_workers_end_with_a_killed_parent"),
    Guard("workers are deaf to Ctrl-C", "system/processes.py:be_pool_worker", "_be_worker(deaf_to=(signal.SIGINT, signal.SIGHUP))",
          "_be_worker(deaf_to=())", f"{PROCESS}::test_guard_worker_pool_ctrl_c_is_the_parent_s_business"),
    Guard("a broken pool is one line", "system/entry_point.py:run", "(TintlabError, OSError, BrokenProcessPool)",
          "(TintlabError, OSError)", f"{PROCESS}::test_guard_broken_pool_a_killed_worker_is_one_clear_line"),
    Guard("the lock", "system/locks.py:_lock", "fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)",
          "", f"{LOCKS}::test_guard_one_at_a_time_a_second_is_told_who_holds_it"),
    Guard("waiting for the lock", "system/locks.py:_lock", "patience = time.monotonic() + wait_seconds",
          "patience = 0.0", f"{LOCKS}::test_guard_waiting_who_waits_gets_it_when_the_holder_ends"),
    Guard("copies give the lock up", "system/locks.py:exclusive", "os.register_at_fork(after_in_child=lambda: _close_all(ours))",
          "", f"{LOCKS}::test_guard_an_orphaned_worker_does_not_keep_the_lock"),
    Guard("half-written files are swept", "system/files.py:_make_part", "_sweep(path.parent)",
          "", f"{STORAGE}::test_guard_only_files_of_dead_writers_are_swept"),
    Guard("living writers are not swept", "system/files.py:_sweep", "_is_abandoned(path)",
          "True", f"{STORAGE}::test_guard_only_files_of_dead_writers_are_swept"),
    Guard("an old folder comes back", "system/files.py:atomic_folder", "_recover_old(path)",
          "", f"{STORAGE}::test_guard_a_folder_returns_after_a_kill_between_renames"),
    Guard("dvc.lock is restored", "operations/dvc_repair.py:_restore_dvc_lock", "fault is None",
          "True", f"{LEFTOVERS}::test_guard_a_cut_dvc_lock_is_restored"),
    Guard("a damaged dvc.lock is not copied", "operations/dvc_repair.py:back_up_dvc_lock", "_fault(content) is None",
          "True", f"{LEFTOVERS}::test_guard_a_damaged_dvc_lock_is_restored_never_copied"),
    Guard("locks of the dead are cleared", "operations/dvc_repair.py:_clear_dead_locks", "write_json(path, _living(path))",
          "", f"{LEFTOVERS}::test_guard_a_lock_with_a_reused_process_number_is_cleared"),
    Guard("a finished training is never resumed", "tracking/interrupted.py:finish", "folder.replace(folder.with_suffix(_FINISHED))",
          "folder", f"{UNFINISHED}::test_guard_finished_a_finished_training_is_never_resumed"),
    Guard("a foreign training is not continued", "tracking/interrupted.py:folder_of", "paths.checkpoints() / lineage.fingerprint(inputs)",
          'paths.checkpoints() / "training"', f"{UNFINISHED}::test_guard_foreign_another_training_is_not_continued"),
    Guard("steps that MLflow has are not sent again", "tracking/delivery.py:_Target._new_points", 'new = step > last.step if kind == "metrics" else moment > last.time',
          "new = True", f"{TRACKING}::test_a_resumed_training_repeats_no_step"),
    Guard("senders take turns", "tracking/delivery.py:Deliverer._deliver", "hold_lock(spool.folder)",
          "__import__('contextlib').nullcontext()", f"{TRACKING}::test_a_sender_waits_for_another_of_the_same_spool"),
    Guard("MLflow's store is whole or absent", "tracking/store.py:prepare_store", "atomic_path(database)",
          "__import__('contextlib').nullcontext(database)", f"{TRACKING}::test_the_default_store_is_whole_or_absent"),
    Guard("a store that was lost gets all", "tracking/delivery.py:Deliverer._open_run", "progress = Progress(self._target.name, run_id)",
          "pass", f"{TRACKING}::test_a_store_that_was_lost_gets_all_that_the_spool_has"),
    Guard("what MLflow refuses is laid aside", "tracking/delivery.py:Deliverer._send_singly", "spool.refuse(record, one_line(error))",
          "raise", f"{TRACKING}::test_refused_records_are_kept_aside_and_the_rest_arrives"),
    Guard("the training never calls MLflow", "tracking/sender.py:start_recording", "sender = _start_sender()",
          "__import__('tintlab.tracking.delivery', fromlist=['find_run']).find_run(fingerprint); sender = _start_sender()", f"{TRACKING}::test_a_server_that_never_answers_delays_nothing"),
    Guard("the training never loads MLflow", "tracking/delivery.py:", "TYPE_CHECKING",
          "True", f"{TRACKING}::test_recording_delivers_and_leaves_the_training_alone"),
    Guard("a sender comes back by itself", "tracking/sender.py:_keep_delivering", "print(error, flush=True)",
          "raise", f"{TRACKING}::test_a_server_that_is_down_now_and_then"),
    Guard("the next stage sends what waits", "tracking/delivery.py:Deliverer.deliver_all", "sum(self._deliver(spool) for spool in list_spools())",
          "sum(self._deliver(spool) for spool in list_spools()[-1:])", f"{TRACKING}::test_a_stage_sends_what_an_earlier_one_left"),
    Guard("a silent server is not waited for", "tracking/sender.py:", "LINGER_SECONDS = 4.0",
          "LINGER_SECONDS = 40.0", f"{TRACKING}::test_a_server_that_never_answers_delays_nothing"),
    Guard("the sender ends with its owner", "tracking/sender.py:_send_for", "delivery.is_alive() and os.getppid() == owner",
          "delivery.is_alive()", f"{TRACKING}::test_the_sender_goes_with_its_owner"),
    Guard("a torn line is cut off", "tracking/spool.py:Spool.open_records", "os.ftruncate(file.fileno(), self._whole_size())",
          "pass", f"{TRACKING}::test_a_torn_last_line_is_cut_off"),
    Guard("a full disk leaves whole lines", "tracking/recorder.py:Recorder._append", "os.ftruncate(self._file.fileno(), before)",
          "pass", f"{TRACKING}::test_a_full_disk_leaves_whole_lines"),
    Guard("a spool stays while it is written to", "tracking/spool.py:Spool.remove_if_done", "fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)",
          "", f"{TRACKING}::test_a_spool_stays_while_someone_writes_to_it"),
    Guard("doctor looks for dead locks", "operations/doctor.py:", "_dvc",
          "", f"{DOCTOR}::test_each_fault_is_seen_and_advised"),
    Guard("doctor looks for undelivered records", "operations/doctor.py:", "_undelivered",
          "", f"{DOCTOR}::test_each_fault_is_seen_and_advised"),
    Guard("served: only bytes are contents", "inference/pyfunc.py:_contents", "not isinstance(image, bytes)", "False",
          "tests/inference/test_pyfunc.py::test_a_value_that_is_not_bytes_is_refused"),
    Guard("a copied store follows", "tracking/store.py:prepare_store", "relocation.follow(database)", "()",
          "tests/registry/test_relocation.py::test_a_copy_leaves_the_original_as_it_is"),
    Guard("a stage runs its checkout's code", "system/entry_point.py:run_stage", "checkout.refuse_other_code", "int",
          "tests/system/test_checkout.py::test_a_stage_says_it_in_one_line"),
    Guard("an inbox is not missed", "sources/lock.py:find_inbox", "now != recorded", "False",
          f"{SOURCES}::test_an_inbox_that_was_recorded_must_not_be_missed"),
    Guard("hostile: paths out of an archive", "sources/limits.py:refuse_outside", 'parts.is_absolute() or ".." in parts.parts',
          "False", f"{ARCHIVES}::test_members_outside_are_refused_before_any_is_read"),
    Guard("hostile: links out of a tar", "sources/archives.py:_read_tar", "refuse_link_outside(path, entry.name, entry.linkname)",
          "pass", f"{ARCHIVES}::test_guard_links_out_of_a_tar_are_refused"),
    Guard("hostile: links out of a zip", "sources/archives.py:_read_zip", "kind == stat.S_IFLNK and entry.file_size <= LONGEST_NAME",
          "kind == stat.S_IFLNK and False", f"{ARCHIVES}::test_guard_links_out_of_a_zip_are_refused"),
    Guard("hostile: devices in a tar", "sources/archives.py:_read_tar", "entry.isdev()",
          "False", f"{ARCHIVES}::test_guard_devices_in_tars_are_refused"),
    Guard("hostile: devices in a zip", "sources/archives.py:_read_zip", "kind not in (0, stat.S_IFREG)",
          "False", f"{ARCHIVES}::test_guard_devices_in_zips_are_refused"),
    Guard("hostile: names twice", "sources/limits.py:refuse_unfit", 'plain in seen and not name.endswith("/")',
          "False", f"{ARCHIVES}::test_guard_a_name_twice_is_refused"),
    Guard("hostile: endless names", "sources/limits.py:refuse_unfit", "len(name) > LONGEST_NAME",
          "False", f"{ARCHIVES}::test_guard_an_endless_name_is_refused"),
    Guard("hostile: encrypted members", "sources/archives.py:_read_zip", "entry.flag_bits & 1",
          "False", f"{ARCHIVES}::test_guard_encrypted_zips_are_refused_before_any_is_read"),
    Guard("hostile: the count of entries", "sources/limits.py:", "limits.files",
          "10**9", f"{ARCHIVES}::test_guard_the_count_of_entries", times=2),
    Guard("hostile: ratio", "sources/limits.py:refuse_bomb", "unpacked > max(_TOO_SMALL_TO_HARM, packed * limits.ratio)",
          "False", f"{ARCHIVES}::test_guard_ratio_bombs_are_refused_before_they_are_unpacked"),
    Guard("hostile: total", "sources/limits.py:refuse_bomb", "unpacked > limits.gigabytes * 1e9",
          "False", f"{ARCHIVES}::test_guard_the_total_is_limited"),
    Guard("hostile: headers take no memory", "sources/archives.py:_Bounded.read", "self.largest is None",
          "True", f"{ARCHIVES}::test_guard_a_header_of_gigabytes_takes_no_memory"),
    Guard("hostile: a lock file names no path", "sources/lock.py:recorded_digest", "_DIGEST.fullmatch(recorded)",
          "True", f"{SOURCES}::test_guard_a_lock_file_can_t_name_a_path"),
    Guard("hostile: a damaged copy", "sources/lock.py:locate_source", "compute_digest(path) != recorded",
          "False", f"{SOURCES}::test_guard_a_missing_or_damaged_copy_names_the_command"),
    Guard("hostile: downloads go on", "sources/downloads.py:_find_resumable", "version.etag and part.stat().st_size",
          "False", f"{DOWNLOADS}::test_guard_a_download_that_is_cut_goes_on_where_it_stopped"),
    Guard("hostile: a server that cuts", "sources/downloads.py:_download", "failures >= patience.attempts",
          "failures >= 50", f"{DOWNLOADS}::test_guard_a_server_that_cuts_again_and_again"),
    Guard("hostile: a server that stalls", "sources/remote.py:Remote._make_http", "sock_read=self.patience.seconds",
          "sock_read=None", f"{DOWNLOADS}::test_guard_a_server_that_stalls"),
    Guard("hostile: a server that drips", "sources/remote.py:Remote._read_pieces", "got < _LEAST_SPEED * elapsed",
          "False", f"{DOWNLOADS}::test_guard_a_server_that_drips"),
    Guard("hostile: redirects to other schemes", "sources/remote.py:Remote._open_response", "self._refuse_redirect(url, target)",
          "", f"{DOWNLOADS}::test_guard_redirects_to_other_schemes"),
    Guard("hostile: redirects to private addresses", "sources/remote.py:Remote._make_http.client", "socket_factory=guard.socket,",
          "", f"{DOWNLOADS}::test_guard_redirects_to_a_private_address"),
    Guard("hostile: which addresses are private", "sources/remote.py:_is_public", "return bool(mapped.is_global and not mapped.is_multicast)",
          "return not mapped.is_loopback", f"{DOWNLOADS}::test_guard_which_addresses_are_private"),
    Guard("hostile: redirects without end", "sources/remote.py:", "_MOST_REDIRECTS = 5",
          "_MOST_REDIRECTS = 50", f"{DOWNLOADS}::test_guard_redirects_without_end"),
    Guard("hostile: other bytes than expected", "sources/lock.py:check_digest", "source.sha256 is not None and found != source.sha256",
          "False", f"{DOWNLOADS}::test_guard_other_bytes_than_params_expect"),
    Guard("hostile: other bytes than recorded", "sources/downloads.py:pull", "_expect_recorded(source, recorded)",
          "source", f"{DOWNLOADS}::test_guard_other_bytes_than_were_recorded"),
    Guard("hostile: pages in place of archives", "sources/downloads.py:_copy_archive", "not archives.is_archive(part)",
          "False", f"{DOWNLOADS}::test_guard_a_page_in_place_of_an_archive"),
    Guard("hostile: endless downloads", "sources/downloads.py:_refuse_large", "size > max_gigabytes * 1e9",
          "False", f"{DOWNLOADS}::test_guard_more_than_the_limit"),
    Guard("hostile: refusals leave nothing", "sources/downloads.py:_download", "_forget(part)",
          "", f"{DOWNLOADS}::test_guard_more_than_the_limit", times=3),
    Guard("hostile: small pieces", "imaging/guards.py:WatchedFile.read", "self._left < 0",
          "False", f"{PHOTOGRAPHS}::test_guard_small_pieces_without_end"),
    Guard("hostile: slow decoders", "imaging/guards.py:refuse_slow", "slow and megapixels > _SLOW_MEGAPIXELS",
          "False", f"{PHOTOGRAPHS}::test_guard_slow_decoders_are_refused_by_the_header"),
    Guard("hostile: scans", "imaging/guards.py:refuse_many_scans", "scans > _FEW_SCANS and scans * megapixels > _MOST_SCANNED",
          "False", f"{PHOTOGRAPHS}::test_guard_scans_over_and_over"),
    Guard("hostile: lines", "imaging/guards.py:refuse_large", "max(width, height) > _LONGEST_SIDE",
          "False", f"{PHOTOGRAPHS}::test_guard_lines_are_no_photographs"),
    Guard("hostile: lines in the network", "inference/working_size.py:working_shape", "max(most, 1 / max(height, width))",
          "1000000000.0", f"{PHOTOGRAPHS}::test_guard_a_line_does_not_grow_in_the_network"),
    Guard("wrong pixels: samples that Pillow misreads", "imaging/tiff_pictures.py:_is_for_pillow",
          'layout.kind != "unsigned" or layout.photometric == tiff.ICCLAB', "False",
          "tests/imaging/test_faults.py::test_guard_16_bits_signed"),
    Guard("wrong pixels: unknown white", "imaging/levels.py:_read_levels", "low < scale.black - slack or high > scale.white + slack",
          "False", "tests/imaging/test_faults.py::test_floats_to_255_are_refused_with_their_range"),
    Guard("wrong pixels: previews of camera raw", "imaging/tiff_pages.py:find_photographs", "_refuse_raw(pages)",
          "pass", "tests/imaging/test_tiff_pages.py::test_camera_raw_is_refused_by_its_name"),
    Guard("hostile: huge strips", "imaging/samples.py:read_samples", "row_size * min(segments.height, layout.height) > _MOST_SEGMENT",
          "False", f"{PHOTOGRAPHS}::test_guard_a_huge_strip_of_samples_is_refused"),
    Guard("hostile: small tiles", "imaging/samples.py:read_samples", "down * segments.across > _MOST_SEGMENTS",
          "False", f"{PHOTOGRAPHS}::test_guard_a_pixel_a_tile_is_refused"),
    Guard("hostile: strips that share data", "imaging/samples.py:read_samples", "sum(segments.sizes) > 2 * file.size()",
          "False", f"{PHOTOGRAPHS}::test_guard_strips_that_share_their_data_are_refused"),
    Guard("hostile: endless pages", "imaging/tiff_pages.py:_read_pages", "file.bytes_read > most_read or len(seen) > _MOST_IFDS",
          "False", f"{PHOTOGRAPHS}::test_guard_pages_larger_than_their_file_are_refused"),
    Guard("hostile: long tags", "imaging/tiff.py:numbers", "len(ifd._tagdata.get(tag, b'')) > _MOST_TAG_BYTES",
          "False", f"{PHOTOGRAPHS}::test_guard_long_lists_in_tags_are_refused"),
    Guard("hostile: devices", "imaging/guards.py:open_source", "not stat.S_ISREG(found.st_mode)",
          "False", f"{PHOTOGRAPHS}::test_guard_pipes_and_devices_are_not_waited_for"),
    Guard("hostile: crashing decoders", "stages/fetch.py:read_all", "BrokenProcessPool",
          "ZeroDivisionError", f"{PHOTOGRAPHS}::test_guard_a_crashing_photograph_costs_itself_alone", times=2),
    Guard("hostile: numbers in a config", "gan/model_files.py:load_generator", "_refuse_other_shapes(config, folder / weights)",
          "", f"{NO_CODE}::test_guard_a_configs_numbers_and_names_cost_no_memory"),
    Guard("hostile: links out of a model", "gan/model_files.py:load_generator", "_refuse_link_outside(folder / name)",
          "", f"{NO_CODE}::test_guard_links_out_of_a_model_are_refused"),
    Guard("hostile: lists in lists", "system/sections.py:_shown", "redacted(shortened.repr(value))",
          "redacted(repr(value))", f"{NO_CODE}::test_guard_lists_that_refer_to_each_other_stay_short"),
    Guard("hostile: secrets in URLs", "system/urls.py:fault_of", '"@" in parts.netloc or _has_secret(parts.query) or bool(parts.fragment)',
          "False", f"{NO_CODE}::test_guard_urls_with_secrets_are_refused_and_not_shown"),
    Guard("hostile: secrets in messages", "system/sections.py:_shown", "redacted(shortened.repr(value))",
          "shortened.repr(value)", f"{NO_CODE}::test_guard_urls_with_secrets_are_refused_and_not_shown"),
    Guard("hostile: attributions", "stages/fetch.py:attributions", 'console.printable(text or "")',
          'text or ""', f"{NO_CODE}::test_guard_attributions_are_printable_and_small"),
    Guard("hostile: pages escape", "reports/pages.py:_environment", "autoescape=True",
          "autoescape=False", f"{NO_CODE}::test_pages_show_names_and_categories_as_text"),
    Guard("hostile: the UI is for this machine", "operations/pipeline.py:serve_ui", "'127.0.0.1'",
          "'0.0.0.0'", f"{NO_CODE}::test_guard_services_listen_for_this_machine_only"),
    Guard("hostile: weights only", "gan/checkpoints.py:_read", "weights_only=True",
          "weights_only=False", f"{NO_CODE}::test_guard_torch_loads_weights_only_and_numpy_no_objects"),
    Guard("slow: signals are deferred to the step's end", "stages/train.py:run_training", "processes.defer_interrupts()",
          "__import__('contextlib').nullcontext(bool)", f"{LEAVING}::test_guard_all_end_within_10_s_with_a_checkpoint"),
    Guard("slow: tintlab passes SIGTERM on", "operations/pipeline.py:run_dvc", "stage.terminate()",
          "pass", f"{LEAVING}::test_guard_all_end_within_10_s_with_a_checkpoint"),
    Guard("slow: the training watches its owners", "system/entry_point.py:_run_watched.watched", "processes.watch_owners()",
          "", f"{LEAVING}::test_guard_owner_watch_kill_9_leaves_no_process"),
    Guard("slow: tintlab is an owner", "operations/pipeline.py:_environment", "processes.ownership()",
          "{}", f"{LEAVING}::test_guard_a_dead_tintlab_starts_no_stage"),
    Guard("slow: the training takes the lock", "stages/train.py:main", 'exclusive(paths.training_lock(), "another training", seconds_to_wait())',
          "__import__('contextlib').nullcontext(seconds_to_wait())", f"{LEAVING}::test_guard_one_at_a_time_a_second_training_refuses_or_waits"),
    Guard("slow: a map's room is taken before it is written", "stages/convert.py:_write_shard", "os.posix_fallocate(file.fileno(), 0, path.stat().st_size)",
          "pass", f"{DISK}::test_guard_whole_files_a_disk_without_room[convert]"),
    Guard("slow: a full disk is one clear line", "gan/checkpoints.py:Checkpoints.save", "temporary.write_bytes(content.getbuffer())",
          "torch.save(state, temporary)", f"{DISK}::test_guard_whole_files_a_file_that_can_t_grow[train]"),
    Guard("slow: checkpoints are far apart", "../../params.yaml:", "checkpoint_every: 50",
          "checkpoint_every: 1", f"{FAULTS}::test_guard_checkpoints_take_at_most_2_percent"),
    Guard("slow: tintlab repro mends", "operations/pipeline.py:repro", "dvc_repair.repair()",
          "()", f"{FAULTS}::test_guard_tintlab_repro_repairs_dvc_lock_and_locks"),
    Guard("slow: dvc.lock is copied while DVC works", "operations/pipeline.py:run_dvc", "dvc_repair.back_up_dvc_lock()",
          "", f"{FAULTS}::test_guard_dvc_lock_is_copied_while_dvc_works", times=2),
    Guard("slow: a diverged run is FAILED", "tracking/training_runs.py:track_training", "'FAILED'",
          "'FINISHED'", f"{FAULTS}::test_guard_divergence_marks_the_run_failed"),
    Guard("slow: resuming", "gan/networks.py:Networks.load_state_dict", "torch.set_rng_state(state['random'][own].clone())",
          "", f"{KILLS}::test_guard_exact_resume_kills_change_no_byte[repro, kills 1-10]"),
]  # fmt: skip


def misses(guard: Guard) -> bool:
    """Whether the test fails without the guard."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        clone_of_the_working_tree(copy)
        subprocess.run(["git", "init", "-q"], cwd=copy, check=True)
        source = copy / SRC / guard.file
        source.write_text(guard.taken_out(source.read_text()))
        ended = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", guard.test],
            cwd=copy,
            capture_output=True,
            text=True,
            env=os.environ | {"PYTHONPATH": str(copy / "src"), _MARK: folder},
            check=False,
        )
        _end_what_is_left(folder)
        if ended.returncode not in (0, 1):
            raise SystemExit(f"{guard.name}: the test can't run:\n{ended.stdout}{ended.stderr}")
        return ended.returncode == 1


def _end_what_is_left(folder: str) -> None:
    """Kill what a test started: without its guard it may stay for ever."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get(_MARK) == folder:
                process.kill()


def main() -> None:
    """See the module."""
    words = sys.argv[1:]
    chosen = [guard for guard in GUARDS if not words or any(word in guard.name for word in words)]
    unnoticed = 0
    for guard in chosen:
        noticed = misses(guard)
        unnoticed += not noticed
        print(
            f"{'noticed  ' if noticed else 'UNNOTICED'} {guard.name}: {guard.test.split('::')[1]}", flush=True
        )
    print(f"{len(chosen)} guards taken out, {len(chosen) - unnoticed} noticed")
    sys.exit(unnoticed > 0)


if __name__ == "__main__":
    main()
