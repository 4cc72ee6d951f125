//! The dashboard on a screen in memory: what each view looks like at each size, and what keys do to it.

mod common;

use std::sync::Arc;
use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use kscope::core::filter::Filter;
use kscope::core::hook::Hook;
use kscope::core::latency::{LatencyStats, Unsorted};
use kscope::core::quality::Quality;
use kscope::model::{Basis, Lost, ProbeState, ProbeStatus, Qualities, Sampling, Share, Snapshot};
use kscope::probes::own::stats::Counting;
use kscope::ui::app::{App, Effect, Settings};
use kscope::ui::theme::Theme;
use kscope::ui::view::View;
use proptest::prelude::*;
use ratatui::Terminal;
use ratatui::backend::TestBackend;

const SIZES: [(u16, u16); 4] = [(120, 36), (80, 24), (40, 12), (20, 5)];

fn settings(view: View) -> Settings {
    Settings { view, ..Settings::default() }
}

/// A dashboard that has watched the machine become busy.
fn watching(view: View) -> App {
    let mut app = App::new(settings(view));
    (20..60).for_each(|tick| app.on_snapshot(Arc::new(common::snapshot(tick))));
    app
}

fn screen(app: &mut App, (width, height): (u16, u16)) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| app.draw(frame)).unwrap();
    terminal.backend().to_string()
}

/// Keys by name, apart by blanks; any other word is typed.
fn press(app: &mut App, script: &str) -> Vec<Effect> {
    let code = |word: &str| match word {
        "Up" => Some(KeyCode::Up),
        "Down" => Some(KeyCode::Down),
        "End" => Some(KeyCode::End),
        "Home" => Some(KeyCode::Home),
        "PgDn" => Some(KeyCode::PageDown),
        "Enter" => Some(KeyCode::Enter),
        "Esc" => Some(KeyCode::Esc),
        "Tab" => Some(KeyCode::Tab),
        "Backspace" => Some(KeyCode::Backspace),
        "Space" => Some(KeyCode::Char(' ')),
        _ => None,
    };
    let mut effects = Vec::new();
    for word in script.split(' ') {
        let codes = code(word).map_or_else(|| word.chars().map(KeyCode::Char).collect(), |code| vec![code]);
        effects.extend(codes.into_iter().filter_map(|c| app.on_key(KeyEvent::new(c, KeyModifiers::NONE))));
    }
    effects
}

/// What is on a wide screen after keys were pressed.
fn after(app: &mut App, script: &str) -> String {
    press(app, script);
    screen(app, (120, 36))
}

/// The line of the selected row.
fn selected(screen: &str) -> &str {
    screen.lines().find(|line| line.contains('▸')).unwrap_or_default()
}

#[test]
fn every_view_at_every_size() {
    for view in View::ALL {
        let mut app = watching(view);
        for size in SIZES {
            insta::assert_snapshot!(format!("{}-{}x{}", view.name(), size.0, size.1), screen(&mut app, size));
        }
    }
}

/// The page of nginx.
fn on_page() -> App {
    let mut app = watching(View::Overview);
    assert!(selected(&after(&mut app, "/ nginx Enter")).contains("nginx"));
    press(&mut app, "Enter");
    app
}

#[test]
fn the_page_of_a_process_at_every_size() {
    let mut app = on_page();
    for size in SIZES {
        insta::assert_snapshot!(format!("page-{}x{}", size.0, size.1), screen(&mut app, size));
    }
    let threads = after(&mut app, "Enter");
    insta::assert_snapshot!("page-threads", threads);
    assert!(after(&mut app, "/ pool-2 Enter").contains("rows “pool-2”"));
    assert!(after(&mut app, "Esc Esc").contains("System calls"), "from the threads back to the calls");
    assert!(after(&mut app, "Esc").contains("Who"), "and from there to where one came from");
}

#[test]
fn a_page_holds_calls_against_what_they_were() {
    let mut app = on_page();
    assert!(screen(&mut app, (120, 36)).contains("··· before: "));
    let pinned = after(&mut app, "B");
    assert!(pinned.contains("are the baseline until B is pressed again"), "{pinned}");
    (60..70).for_each(|tick| app.on_snapshot(Arc::new(common::snapshot(tick))));
    let held = screen(&mut app, (120, 36));
    assert!(held.contains("··· pinned: ") && held.contains("in 40 s"), "{held}");
    assert!(after(&mut app, "B Down").contains("··· before: "));
}

#[test]
fn a_page_says_what_is_not_known_and_when_the_process_has_gone() {
    let mut app = on_page();
    press(&mut app, "Enter");
    let mut snapshot = common::snapshot(60);
    snapshot.page.as_mut().unwrap().threads = None;
    app.on_snapshot(Arc::new(snapshot));
    assert!(screen(&mut app, (120, 36)).contains("only while everything is counted"));
    app.on_snapshot(Arc::new(Snapshot { page: None, ..common::snapshot(61) }));
    assert!(screen(&mut app, (120, 36)).contains("told apart from the next interval on"));
    press(&mut app, "Enter");
    let mut gone = Snapshot { page: None, ..common::snapshot(62) };
    gone.processes.retain(|p| p.id.pid != 8812);
    app.on_snapshot(Arc::new(gone));
    let shown = screen(&mut app, (120, 36));
    assert!(shown.contains("It is not there any more.") && shown.contains("8812 (nginx) exited"), "{shown}");
}

#[test]
fn callers_of_a_call_and_help_and_prompts() {
    let mut app = watching(View::Overview);
    insta::assert_snapshot!("callers", after(&mut app, "2 Down Enter"));
    insta::assert_snapshot!("help", after(&mut app, "?"));
    press(&mut app, "End");
    assert!(screen(&mut app, (40, 12)).contains("±4.4 %"), "the last line");
    press(&mut app, "Up Up Up");
    assert!(!screen(&mut app, (40, 12)).contains("±4.4 %"), "three lines up from the end");
    press(&mut app, "Esc p 88x Enter");
    insta::assert_snapshot!("prompt-80x24", screen(&mut app, (80, 24)));
}

#[test]
fn the_command_is_of_what_is_looked_at_and_devices_lead_to_their_users() {
    let mut app = watching(View::Disk);
    insta::assert_snapshot!("commands", after(&mut app, "c"));
    assert!(after(&mut app, "Down c").contains("Devices"), "the key shows and hides");
    assert!(after(&mut app, "p 1402 Enter c").contains("pid == 1402"));
    insta::assert_snapshot!("disk-users", after(&mut app, "Esc Esc Enter"));
}

#[test]
fn connections_are_measured_while_they_are_looked_at() {
    let mut app = watching(View::Network);
    assert!(!app.interests().connections);
    press(&mut app, "o");
    assert!(app.interests().connections);
    for size in SIZES {
        insta::assert_snapshot!(format!("connections-{}x{}", size.0, size.1), screen(&mut app, size));
    }
    let listening = screen(&mut app, (120, 36));
    let at = |text: &str| listening.lines().position(|line| line.contains(text)).unwrap();
    assert!(at("311/511") > at("203.0.113.7:51034"), "{listening}");
    assert!(after(&mut app, "/ 5432 Enter").contains("10.1.0.9:5432"));
    let page = after(&mut app, "Enter");
    assert!(page.contains("Network › 8812 nginx"), "{page}");
    assert!(!app.interests().names);
    press(&mut app, "Esc n");
    assert!(app.interests().names);
    press(&mut app, "Esc Esc");
    assert!(!app.interests().connections && !app.interests().names);
}

#[test]
fn what_is_not_attached_yet_says_so() {
    let mut snapshot = common::snapshot(50);
    snapshot.connections.clear();
    snapshot.qualities.connections = Quality::NotAvailable;
    let idle = ProbeStatus { name: "conn_send", hook: Hook::TpBtf, state: ProbeState::Idle, fallback: None };
    snapshot.probes = snapshot.probes.iter().cloned().chain([idle]).collect();
    let mut app = App::new(settings(View::Network));
    app.on_snapshot(Arc::new(snapshot));
    assert!(after(&mut app, "o").contains("from the next interval on"));
}

#[test]
fn errors_of_calls_and_who_runs_in_circles() {
    let mut app = watching(View::Syscalls);
    app.on_snapshot(Arc::new(common::failing::in_circles(common::snapshot(60))));
    let errors = after(&mut app, "e");
    assert!(errors.contains("nginx (8812) asks in a loop: accept4 returns EAGAIN"), "{errors}");
    assert!(errors.contains("ETIMEDOUT") && errors.contains("accept4"), "those of waiting calls, too: {errors}");
    for size in SIZES {
        insta::assert_snapshot!(format!("errors-{}x{}", size.0, size.1), screen(&mut app, size));
    }
    assert!(after(&mut app, "/ openat Enter").contains("ENOENT") && !screen(&mut app, (120, 36)).contains("ETIMEDOUT"));
    let page = after(&mut app, "Enter");
    assert!(page.contains("Syscalls › 8812 nginx"), "{page}");
    // The page, the text, the errors.
    assert!(after(&mut app, "Esc Esc Esc").contains("p99.9"));
    assert!(after(&mut app, "e e").contains("p99.9"), "the key leads back, too");
    // A process that does not fail has none.
    assert!(after(&mut app, "e p 2213 Enter").contains("No call has failed lately"));
}

#[test]
fn single_calls_are_listed_by_octave() {
    let mut app = watching(View::Syscalls);
    let all = after(&mut app, "Down x");
    assert!(all.contains("Syscalls › write › single calls") && all.contains("fd 9 ~/var/log/access.log, 1"), "{all}");
    for size in SIZES {
        insta::assert_snapshot!(format!("single-calls-{}x{}", size.0, size.1), screen(&mut app, size));
    }
    // From "all of them" down to the slowest octave.
    let slowest = after(&mut app, ",");
    insta::assert_snapshot!("single-calls-of-an-octave", slowest);
    assert!(after(&mut app, ".").contains("last 60 s"), "and up again to all");
    assert!(after(&mut app, "/ sshd Enter").contains("sshd") && !screen(&mut app, (120, 36)).contains("redis"));
    let page = after(&mut app, "Enter");
    assert!(page.contains("Syscalls › 9977 sshd"), "{page}");
    assert!(after(&mut app, "Esc Esc x").contains("p99.9"));
    assert!(after(&mut app, ".").contains("x shows the single calls"), "what the key needs is said");
    // From the callers of a call to its single calls.
    assert!(after(&mut app, "Enter x").contains("single calls"));
}

#[test]
fn a_call_of_which_none_is_kept_says_so() {
    let mut app = App::new(settings(View::Syscalls));
    let exemplars = kscope::probes::exemplars::stats::Exemplars::default();
    app.on_snapshot(Arc::new(Snapshot { exemplars, ..common::snapshot(50) }));
    assert!(after(&mut app, "x").contains("of quick calls only a few are"));
    assert!(after(&mut app, ".").contains("is kept: of quick calls"));
}

#[test]
fn hundreds_of_cpus_become_a_grid() {
    let mut app = App::new(settings(View::Scheduler));
    app.on_snapshot(Arc::new(common::with_cpus(50, 320)));
    insta::assert_snapshot!("scheduler-320-cpus", screen(&mut app, (120, 36)));
    app.on_snapshot(Arc::new(common::with_cpus(51, 64)));
    insta::assert_snapshot!("scheduler-64-cpus", screen(&mut app, (200, 50)));
}

#[test]
fn before_the_first_numbers_it_says_so() {
    let mut app = App::new(settings(View::Overview));
    assert!(screen(&mut app, (80, 24)).contains("measuring… first numbers in 1 s"));
    assert!(screen(&mut app, (19, 5)).contains("kscope needs 20x5"));
    assert_eq!(press(&mut app, "Down End Enter s r Space w / x Enter q"), [Effect::Quit]);
}

#[test]
fn enter_goes_from_a_call_to_its_callers_to_the_page_of_one_and_escape_comes_back() {
    let mut app = watching(View::Syscalls);
    assert!(selected(&after(&mut app, "Down")).contains("write"));
    let callers = after(&mut app, "Enter");
    assert!(callers.contains("Syscalls › write") && callers.contains("redis-server") && callers.contains("sshd"));
    let page = after(&mut app, "End Enter");
    assert!(page.contains("Syscalls › ") && page.contains("filter pid "), "{page}");
    let back = after(&mut app, "Esc");
    assert!(back.contains("Syscalls › write") && back.contains("filter none"), "{back}");
    assert!(!after(&mut app, "Esc").contains("› write"));
}

#[test]
fn a_verdict_says_its_rule_and_enter_shows_its_evidence() {
    let mut app = App::new(settings(View::Overview));
    (30..46).for_each(|tick| app.on_snapshot(Arc::new(common::snapshot(tick))));
    let shown = screen(&mut app, (120, 36));
    assert!(shown.contains("▲ nginx (8812) waits for a CPU in"), "{shown}");
    let selected = after(&mut app, "v v");
    assert!(selected.contains("Enter shows the evidence") && selected.contains("▸ redis-server"), "{selected}");
    let evidence = after(&mut app, "Enter");
    assert!(evidence.contains("Stuck now") && evidence.contains("filter pid 2213"), "{evidence}");
    let calm = Arc::new(Snapshot { inflight: Vec::new(), ..common::snapshot(1) });
    (0..3).for_each(|_| app.on_snapshot(Arc::clone(&calm)));
    assert!(after(&mut app, "1 Esc").contains("Nothing stands out"), "nothing is said of what is over");
}

#[test]
fn processes_are_a_tree_that_folds_and_a_folded_row_is_a_sum() {
    let mut app = watching(View::Processes);
    let tree = after(&mut app, "v");
    assert!(tree.contains("- systemd") && tree.contains("  ffmpeg"), "{tree}");
    insta::assert_snapshot!("processes-tree", tree);
    let folded = after(&mut app, "f");
    assert!(selected(&folded).contains("+ systemd  +6"), "{folded}");
    let wide = screen(&mut app, (200, 36));
    assert!(selected(&wide).contains("  37  root"), "all threads of all seven: {wide}");
    assert!(!folded.contains("ffmpeg"));
    assert!(after(&mut app, "F").contains("ffmpeg"), "all is open again");
    let cgroups = after(&mut app, "v");
    assert!(cgroups.contains("- /system.slice") && cgroups.contains("- nginx.service"), "{cgroups}");
    assert!(selected(&after(&mut app, "Home Enter")).contains("+ /system.slice  +14"), "Enter folds a cgroup");
    assert!(after(&mut app, "v f").contains("nothing to fold in a flat list"));
}

#[test]
fn columns_of_processes_are_chosen_and_what_is_sorted_by_stays() {
    let mut app = watching(View::Processes);
    assert!(screen(&mut app, (200, 36)).contains("cpu wait"));
    let chooser = after(&mut app, "o");
    insta::assert_snapshot!("processes-columns", chooser);
    press(&mut app, "Down Down Down Down Down Down Down Down Space Down Space Esc");
    let shown = screen(&mut app, (200, 36));
    assert!(!shown.contains("cpu wait") && shown.contains("blocked"), "{shown}");
    press(&mut app, "o Home Space Esc");
    assert!(screen(&mut app, (200, 36)).contains("PID"), "whose row it is cannot be hidden");
}

#[test]
fn the_dead_are_listed_by_command_and_the_latest_of_one() {
    let mut app = watching(View::Processes);
    let dead = after(&mut app, "d");
    insta::assert_snapshot!("dead", dead);
    insta::assert_snapshot!("dead-80x24", screen(&mut app, (80, 24)));
    assert!(selected(&dead).contains("ls") && selected(&dead).contains("backup.sh") && selected(&dead).contains("800"));
    let latest = after(&mut app, "/ gzip Enter Enter");
    assert!(selected(&latest).contains("signal 9 KILL"), "{latest}");
    insta::assert_snapshot!("dead-latest", latest);
    assert!(after(&mut app, "Enter").contains("this is all that is left of it"));
    assert!(after(&mut app, "Esc").contains("gzip"), "back to the groups");
    assert!(after(&mut app, "Esc Esc").contains("nginx"), "and to the living");
    let mut quiet = App::new(settings(View::Processes));
    quiet.on_snapshot(Arc::new(Snapshot { dead: Vec::new(), ..common::snapshot(50) }));
    assert!(after(&mut quiet, "d").contains("Nobody died in the last five minutes."));
    quiet.on_snapshot(Arc::new(common::without(51, "sched_process_exit")));
    assert!(screen(&mut quiet, (120, 36)).contains("refused sched_process_exit"));
}

#[test]
fn blame_says_whose_time_a_wait_was_by_process_and_by_group() {
    let mut app = watching(View::Scheduler);
    let shown = after(&mut app, "b");
    assert!(app.interests().blame, "it is measured while it is shown");
    insta::assert_snapshot!("blame", shown);
    for size in &SIZES[1..] {
        insta::assert_snapshot!(format!("blame-{}x{}", size.0, size.1), screen(&mut app, *size));
    }
    assert!(selected(&shown).contains("nginx") && selected(&shown).contains("78 % ffmpeg"), "{shown}");
    assert!(after(&mut app, "Down").contains("Who ran while ffmpeg waited  1.10 s"));
    let page = after(&mut app, "Enter");
    assert!(page.contains("Scheduler › 21077 ffmpeg") && app.interests().blame, "{page}");
    let groups = after(&mut app, "Esc g");
    assert!(selected(&groups).contains("nginx.service") && groups.contains("by control group"), "{groups}");
    assert!(after(&mut app, "Enter").contains("no row to go into"));
    assert!(after(&mut app, "g").contains("Who ran while nginx waited"));
    assert!(after(&mut app, "p 1402 Enter").contains("postgres") && !screen(&mut app, (120, 36)).contains("▸nginx"));
    assert!(after(&mut app, "b").contains("Processes by delay") && !app.interests().blame);
}

#[test]
fn before_blame_is_measured_it_says_so_and_what_it_costs() {
    let mut app = App::new(settings(View::Scheduler));
    app.on_snapshot(Arc::new(Snapshot { blame: None, ..common::snapshot(50) }));
    let shown = after(&mut app, "b");
    assert!(shown.contains("Measuring who runs while others wait for a CPU…") && shown.contains("longer"), "{shown}");
    let mut failed = Snapshot { blame: None, ..common::snapshot(51) };
    let state = ProbeState::Failed { reason: "The kernel refused it.".into(), advice: "It needs 5.17.".into() };
    failed.probes = [ProbeStatus { name: "blame_switch", hook: Hook::TpBtf, state, fallback: None }].into();
    app.on_snapshot(Arc::new(failed));
    assert!(screen(&mut app, (120, 36)).contains("The kernel refused it. It needs 5.17."));
}

#[test]
fn a_filter_applies_to_every_view() {
    let mut app = watching(View::Overview);
    for view in ["1", "2", "3", "4", "5", "6", "7", "9"] {
        let shown = if view == "1" { after(&mut app, "p 1402,2213 Enter") } else { after(&mut app, view) };
        assert!(shown.contains("filter pid 1402,2213"), "{shown}");
        assert!(!shown.contains("nginx") && !shown.contains("ffmpeg"), "{shown}");
    }
    let calls = after(&mut app, "2");
    assert!(calls.contains("pread64") && !calls.contains("sendfile"), "{calls}");
    assert!(calls.contains("±4.4 %"), "a filtered view has the same bound: {calls}");
    assert!(after(&mut app, "p Backspace Backspace Backspace Backspace Backspace Enter").contains("filter pid 1402 "));
}

#[test]
fn what_alone_is_measured_is_said_on_every_view() {
    for (only, text) in [(vec![1402, 2213], "only 1402,2213  filter"), (vec![1, 2, 3, 4], "only 4 pids  filter")] {
        let mut app = App::new(settings(View::Overview));
        app.on_snapshot(Arc::new(Snapshot { only: only.into(), ..common::snapshot(50) }));
        for view in ["1", "2", "3", "4", "5", "6", "7", "9"] {
            assert!(after(&mut app, view).contains(text));
        }
    }
}

#[test]
fn a_pid_that_does_not_exist_or_has_gone_is_said() {
    let mut app = watching(View::Overview);
    assert!(after(&mut app, "p 4711 Enter").contains("No process 4711"));
    assert!(after(&mut app, "2").contains("No process 4711"));
    press(&mut app, "1 Esc p 21077 Enter");
    // The video is done: it was in the snapshots of before only.
    let mut gone = common::snapshot(10);
    gone.unix_s = common::snapshot(63).unix_s;
    app.on_snapshot(Arc::new(gone));
    assert!(screen(&mut app, (120, 36)).contains("21077 (ffmpeg) exited 4.0 s ago"));
    let both = after(&mut app, "p ,8812 Enter");
    assert!(both.contains("21077 (ffmpeg) exited 4.0 s ago") && both.contains("nginx"), "{both}");
}

#[test]
fn a_filter_that_matches_nothing_and_a_note_are_said() {
    let filter = Filter::new(vec![], Some("apache*"), None);
    let mut app = App::new(Settings { filter, ..settings(View::Overview) });
    app.on_snapshot(Arc::new(common::snapshot(50)));
    let shown = screen(&mut app, (120, 36));
    assert!(
        shown.contains("filter comm apache*") && shown.contains("(filter: comm apache*; Esc clears it)"),
        "{shown}"
    );
    assert!(after(&mut app, "Esc").contains("nginx"));
    app.on_note("a sample could not be read: permission denied".into());
    assert!(screen(&mut app, (120, 36)).contains("a sample could not be read"));
    (51..60).for_each(|tick| app.on_snapshot(Arc::new(common::snapshot(tick))));
    assert!(!screen(&mut app, (120, 36)).contains("a sample could not be read"), "messages go away");
}

#[test]
fn the_selection_stays_on_its_row_when_the_order_changes() {
    let mut app = watching(View::Overview);
    assert!(selected(&after(&mut app, "Down")).contains("nginx"));
    for _ in 0..9 {
        assert!(selected(&after(&mut app, "s")).contains("nginx"));
        assert!(selected(&after(&mut app, "r")).contains("nginx"));
    }
    assert!(!selected(&after(&mut app, "Home")).is_empty(), "the first row is selected");
}

#[test]
fn rows_are_searched_by_text_while_typing() {
    let mut app = watching(View::Overview);
    let typed = after(&mut app, "/ WORK");
    let listed = |name: &str| typed.lines().any(|line| line.contains('│') && line.contains(name));
    assert!(listed("nginx") && !listed("redis"), "the command line counts: {typed}");
    assert!(after(&mut app, "Enter").contains("rows “WORK”"));
    assert!(after(&mut app, "2").contains("pread64"), "another table has a text of its own");
    assert!(after(&mut app, "1 Esc").contains("redis"));
    assert!(after(&mut app, "/ zzz Enter").contains("No row contains “zzz”"));
}

#[test]
fn a_pause_freezes_what_is_shown_and_sorting_goes_on() {
    let mut app = watching(View::Overview);
    let before = after(&mut app, "Space");
    app.on_snapshot(Arc::new(common::snapshot(72)));
    let frozen = screen(&mut app, (120, 36));
    assert!(frozen.contains("■ paused 13 s old") && before.contains("14:03:30") && frozen.contains("14:03:30"));
    assert!(selected(&after(&mut app, "End")).contains("systemd"));
    assert!(after(&mut app, "p 8812 Enter").contains("nginx"));
    assert!(after(&mut app, "Space").contains("● live 1 s · 14:03:43"));
}

#[test]
fn the_interval_steps_and_stops_at_its_ends() {
    let mut app = watching(View::Overview);
    let interval = |ms| Effect::SetInterval(Duration::from_millis(ms));
    assert_eq!(press(&mut app, "+ + - - -"), [2000, 5000, 2000, 1000, 500].map(interval));
    assert_eq!(press(&mut app, "- - - -"), [200, 100].map(interval));
    assert!(screen(&mut app, (120, 36)).contains("already the shortest"));
}

#[test]
fn waiting_calls_stand_below_or_are_hidden() {
    let mut app = watching(View::Syscalls);
    let hidden = screen(&mut app, (120, 36));
    assert!(!hidden.contains("futex") && hidden.contains("waiting calls hidden"));
    let shown = after(&mut app, "w");
    let line = |name| shown.lines().position(|l| l.contains(name)).unwrap();
    assert!(line("futex ⋯") > line("ftruncate"));
}

#[test]
fn unknown_keys_are_said_once() {
    let mut app = watching(View::Scheduler);
    assert!(after(&mut app, "x").contains("x does nothing here; ? shows the keys"));
    assert!(!after(&mut app, "Down").contains("does nothing here"));
    assert!(after(&mut app, "w").contains("w does nothing here"));
    app.on_key(KeyEvent::new(KeyCode::Char('\u{1b}'), KeyModifiers::CONTROL));
    assert!(!screen(&mut app, (120, 36)).contains('\u{1b}'));
}

#[test]
fn control_c_and_control_z_reach_through_a_prompt() {
    let mut app = watching(View::Overview);
    press(&mut app, "p");
    assert_eq!(press(&mut app, "q"), []);
    assert_eq!(app.on_key(KeyEvent::new(KeyCode::Char('z'), KeyModifiers::CONTROL)), Some(Effect::Suspend));
    assert_eq!(app.on_key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)), Some(Effect::Quit));
}

#[test]
fn themes_go_round_and_no_color_stays() {
    let mut app = watching(View::Overview);
    for name in ["light", "monochrome", "dark"] {
        assert!(after(&mut app, "t").contains(&format!("theme {name}")));
    }
    let mut plain = App::new(Settings { no_color: true, ..settings(View::Overview) });
    assert!(after(&mut plain, "t").contains("NO_COLOR"));
    plain.on_snapshot(Arc::new(common::snapshot(1)));
    let mut terminal = Terminal::new(TestBackend::new(120, 36)).unwrap();
    terminal.draw(|frame| plain.draw(frame)).unwrap();
    let reset = ratatui::style::Color::Reset;
    assert!(terminal.backend().buffer().content.iter().all(|cell| cell.fg == reset && cell.bg == reset));
}

#[test]
fn a_failed_probe_is_a_sentence_and_its_numbers_are_dashes() {
    let mut app = App::new(settings(View::Overview));
    app.on_snapshot(Arc::new(common::without(50, "sys_enter")));
    let overview = screen(&mut app, (120, 36));
    assert!(overview.contains("refused sys_enter") && overview.contains("Run kscope with sudo."), "{overview}");
    assert!(overview.contains("Run queue  15.7 k/s"), "the other panes go on: {overview}");
    let syscalls = after(&mut app, "2");
    assert!(syscalls.contains("Run kscope with sudo.") && !syscalls.contains("pread64"));
    insta::assert_snapshot!("failed-probe", overview);
}

/// The same machine as it is seen by an ordinary user, through procfs alone.
fn through_procfs(tick: u32) -> Snapshot {
    let mut snapshot = common::snapshot(tick);
    let (reason, advice) = ("kscope was started without CAP_BPF.", "Run `sudo kscope`.");
    snapshot.basis = Basis::Procfs { reason: reason.into(), advice: advice.into() };
    (snapshot.calls, snapshot.cpus, snapshot.inflight) = (Vec::new(), Vec::new(), Vec::new());
    for process in &mut snapshot.processes {
        let waits = Unsorted { count: process.runqueue.count(), total_ns: process.runqueue.total_ns };
        process.runqueue = LatencyStats::empty();
        process.runqueue.add_unsorted(waits);
        process.calls.clear();
        process.disk.hidden = process.id.pid % 2;
    }
    let (none, estimate) = (Quality::NotAvailable, Quality::Estimate);
    snapshot.qualities = Qualities {
        syscalls: none,
        runqueue: estimate,
        network: none,
        time: estimate,
        errors: none,
        disk: estimate,
        blame: none,
        connections: none,
        dead: none,
    };
    let failed = ProbeState::Failed { reason: reason.into(), advice: advice.into() };
    snapshot.probes = [("schedstat", Hook::Procfs, ProbeState::Running), ("sys_enter", Hook::TpBtf, failed)]
        .map(|(name, hook, state)| ProbeStatus { name, hook, state, fallback: None })
        .into();
    snapshot
}

#[test]
fn what_procfs_does_not_tell_is_a_dash_and_its_pane_says_why() {
    let mut app = App::new(settings(View::Overview));
    (50..53).for_each(|tick| app.on_snapshot(Arc::new(through_procfs(tick))));
    let overview = screen(&mut app, (120, 36));
    assert!(overview.contains("/proc only: 9 says why") && overview.contains("without CAP_BPF"), "{overview}");
    assert!(overview.contains("Run queue  ~") && overview.contains("not how"), "{overview}");
    let scheduler = after(&mut app, "3");
    assert!(scheduler.contains('~') && !scheduler.contains("p99 0"), "{scheduler}");
    for view in ["5", "6", "7"] {
        let shown = after(&mut app, view);
        for zero in ["0 calls", "forks 0", "ends 0", "p50 0"] {
            assert!(!shown.contains(zero), "{zero} is not known: {shown}");
        }
    }
    let own = after(&mut app, "9");
    assert!(own.contains("schedstat") && own.contains("Only /proc is read."), "{own}");
    for view in 1..=9 {
        press(&mut app, &view.to_string());
        for size in SIZES {
            screen(&mut app, size);
        }
    }
}

#[test]
fn losses_are_marked_where_they_matter() {
    let mut snapshot = common::snapshot(50);
    snapshot.lost_ever = Lost { records: 12, ..Lost::default() };
    snapshot.qualities.syscalls = Quality::LowerBound;
    snapshot.qualities.network = Quality::NotAvailable;
    let mut app = App::new(settings(View::Overview));
    app.on_snapshot(Arc::new(snapshot));
    let shown = screen(&mut app, (120, 36));
    assert!(shown.contains("lost 12") && shown.contains('≥') && shown.contains("Network bytes are not"), "{shown}");
}

#[test]
fn an_interval_that_was_longer_than_asked_for_says_so_and_its_rates_are_over_all_of_it() {
    let mut app = App::new(settings(View::Syscalls));
    app.on_snapshot(Arc::new(common::snapshot(50)));
    assert!(!screen(&mut app, (120, 36)).contains("late"));
    let snapshot = common::snapshot(50);
    let calls: u64 = snapshot.calls.iter().map(|call| call.latency.count()).sum();
    app.on_snapshot(Arc::new(Snapshot { interval_ns: 61_000_000_000, ..snapshot }));
    for size in [(120, 36), (80, 24)] {
        let shown = screen(&mut app, size);
        assert!(shown.lines().next().is_some_and(|line| line.contains("late: over 61 s")), "{shown}");
    }
    assert!(calls > 61, "a test that proves little");
    // The axis of time covers the minute, too.
    assert!(screen(&mut app, (120, 36)).contains("min"), "{}", screen(&mut app, (120, 36)));
}

#[test]
fn missed_events_are_among_the_lost() {
    let mut snapshot = common::snapshot(50);
    snapshot.programs.misses = vec![Some(3), None, Some(4)];
    let mut app = App::new(settings(View::Overview));
    app.on_snapshot(Arc::new(snapshot));
    assert!(screen(&mut app, (120, 36)).contains("lost 7"));
}

#[test]
fn sampled_numbers_say_so_and_self_says_what_was_left_out() {
    let mut snapshot = common::counted(50, Counting::Windows);
    let calls =
        Share { one_in: 64, unwatched_ns: snapshot.interval_ns / 50 * 49, window_ns: snapshot.interval_ns / 50 };
    snapshot.sampling =
        Sampling { budget: Some(0.01), shares: [calls, Share::default(), Share::default()], ..Sampling::default() };
    snapshot.qualities = snapshot.sampling.lower(snapshot.qualities);
    let mut app = App::new(settings(View::Overview));
    app.on_snapshot(Arc::new(snapshot));
    let shown = screen(&mut app, (120, 36));
    assert!(shown.contains("≈ sampled") && shown.contains("% of 1.0 %"), "{shown}");
    assert!(after(&mut app, "2").contains("≈"));
    let own = after(&mut app, "9");
    assert!(own.contains("1 in 64 system calls is counted, 2.0 % of the time"), "{own}");
    assert_eq!(app.on_key(KeyEvent::from(KeyCode::Char('b'))), Some(Effect::SetBudget(Some(0.005))));
    let small = screen(&mut app, (80, 24));
    assert!(small.contains("1 in 64 system calls is counted"), "the notice points here at any size: {small}");
    insta::assert_snapshot!("sampled", own);
}

#[test]
fn names_cannot_steer_the_terminal() {
    let mut snapshot = common::snapshot(50);
    for process in &mut snapshot.processes {
        let ident = Arc::make_mut(&mut process.ident);
        ident.comm = "\u{1b}[2J\r\u{202e}evil".into();
        ident.cmdline = "\u{9b}31m\n".into();
        process.exited = true;
    }
    snapshot.host.name = "\u{7}host".into();
    let mut app = App::new(settings(View::Overview));
    app.on_snapshot(Arc::new(snapshot));
    for view in ["1", "2", "3", "4", "5", "6", "7", "9"] {
        press(&mut app, view);
        let shown = screen(&mut app, (200, 50));
        assert!(!shown.chars().any(|c| c.is_control() && c != '\n' || c == '\u{202e}'), "{shown:?}");
    }
}

/// The header's cost.
fn cost(screen: &str) -> &str {
    let line = screen.lines().next().unwrap_or_default();
    line.split_once("cost ").map_or("", |(_, rest)| rest.split(" %").next().unwrap_or_default())
}

#[test]
fn own_cost_says_what_it_is_worth() {
    let mut app = App::new(settings(View::Own));
    let denied = Counting::Denied("Run statistics need CAP_SYS_ADMIN: start kscope with sudo.".into());
    // Eight CPUs, 0.42 % of one for user space.
    for (counting, shown) in
        [(Counting::Waiting, "≥0.05"), (denied, "≥0.05"), (Counting::Windows, "~0.28"), (Counting::Always, "0.28")]
    {
        app.on_snapshot(Arc::new(common::counted(50, counting)));
        assert_eq!(cost(&screen(&mut app, (120, 36))), shown);
    }
}

#[test]
fn without_the_privilege_runs_are_dashes_and_it_says_why() {
    let mut app = App::new(settings(View::Own));
    let reason = "Run statistics need CAP_SYS_ADMIN: start kscope with sudo.";
    app.on_snapshot(Arc::new(common::counted(50, Counting::Denied(reason.into()))));
    for size in [(120, 36), (80, 24)] {
        let shown = screen(&mut app, size);
        assert!(shown.contains(reason) && selected(&shown).contains('–'), "{shown}");
    }
    let small = screen(&mut app, (40, 12));
    assert!(small.contains("Run statistics need") && small.contains("with sudo."), "{small}");
    insta::assert_snapshot!("self-denied", screen(&mut app, (120, 36)));
}

#[test]
fn a_program_that_does_not_run_says_why_where_programs_are_listed() {
    let mut app = App::new(settings(View::Own));
    app.on_snapshot(Arc::new(common::without(50, "sock_send_length")));
    let shown = after(&mut app, "/ sock_send Enter");
    assert!(selected(&shown).contains("refused") && !shown.contains("sched_switch  "), "{shown}");
    assert!(shown.contains("sock_send_length: The kernel refused"), "{shown}");
}

#[test]
fn what_kscope_could_not_give_up_is_said_in_its_view() {
    let mut app = App::new(settings(View::Own));
    let note = "This kernel has no Landlock: kscope can open for reading what its user can.";
    app.on_snapshot(Arc::new(Snapshot { notes: [note.to_owned()].into(), ..common::counted(50, Counting::Windows) }));
    let shown = screen(&mut app, (120, 50));
    assert!(shown.contains(note), "{shown}");
}

#[test]
fn own_cost_is_amber_from_three_percent_of_the_machine() {
    let mut dear = common::snapshot(50);
    dear.own.cpu_ns = dear.interval_ns;
    for (cpus, warns) in [(8, true), (64, false)] {
        dear.host.cpus = cpus;
        let mut app = App::new(settings(View::Overview));
        app.on_snapshot(Arc::new(dear.clone()));
        let mut terminal = Terminal::new(TestBackend::new(120, 36)).unwrap();
        terminal.draw(|frame| app.draw(frame)).unwrap();
        let line: Vec<_> = terminal.backend().buffer().content[..120].to_vec();
        let text: String = line.iter().map(|cell| cell.symbol().chars().next().unwrap_or(' ')).collect();
        let at = text.chars().collect::<Vec<_>>().windows(4).position(|w| w == ['c', 'o', 's', 't']).unwrap();
        assert_eq!(line[at].style().fg == Theme::default().warn.fg, warns, "{text}");
    }
}

fn any_key() -> impl Strategy<Value = KeyEvent> {
    let known = "12345679jkpsrwtebdo+-/? q,8x0vfF".chars().map(KeyCode::Char).collect::<Vec<_>>();
    let named = [
        KeyCode::Up,
        KeyCode::Down,
        KeyCode::PageUp,
        KeyCode::PageDown,
        KeyCode::Home,
        KeyCode::End,
        KeyCode::Enter,
        KeyCode::Esc,
        KeyCode::Tab,
        KeyCode::BackTab,
        KeyCode::Backspace,
        KeyCode::Left,
        KeyCode::F(7),
    ];
    let code = prop_oneof![
        4 => proptest::sample::select(known),
        4 => proptest::sample::select(named.to_vec()),
        1 => any::<char>().prop_map(KeyCode::Char),
    ];
    (code, any::<u8>()).prop_map(|(code, m)| KeyEvent::new(code, KeyModifiers::from_bits_truncate(m & m >> 3)))
}

fn any_snapshot() -> impl Strategy<Value = Snapshot> {
    (0_u32..80, 0_u32..5).prop_map(|(tick, kind)| match kind {
        0 => Snapshot::default(),
        1 => common::with_cpus(tick, tick * 7),
        2 => common::without(tick, "sched_switch"),
        _ => common::snapshot(tick),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn no_keys_and_no_size_make_it_panic(
        steps in proptest::collection::vec((any_key(), proptest::option::weighted(0.2, any_snapshot())), 1..40),
        (width, height) in (1_u16..240, 1_u16..70),
    ) {
        let mut app = App::new(settings(View::Overview));
        for (key, snapshot) in steps {
            if let Some(snapshot) = snapshot {
                app.on_snapshot(Arc::new(snapshot));
            }
            app.on_key(key);
            screen(&mut app, (width, height));
        }
        for size in SIZES {
            screen(&mut app, size);
        }
    }
}
