//! The turn: who leads, who takes over, who is woken, and that nothing is ever left lying.

use proptest::prelude::*;

use super::*;

fn enter(item: u32, arm: bool) -> Step<u32> {
    Step::Enter { item, arm }
}

fn with_requests(items: impl IntoIterator<Item = u32>) -> Turn<u32> {
    let mut turn = Turn::new();
    turn.push(items);
    turn
}

#[test]
fn the_first_to_come_leads_and_the_others_park() {
    let mut turn = Turn::<u32>::new();
    assert_eq!(turn.step(0, false), Step::Read);
    assert_eq!(turn.step(1, false), Step::Park);
    assert_eq!(turn.step(0, false), Step::Read);
}

#[test]
fn one_thread_works_through_the_line_and_starts_the_clock_once() {
    let mut turn = with_requests([7, 8]);
    assert_eq!(turn.step(0, false), enter(7, true));
    assert_eq!(turn.step(0, true), enter(8, false));
    assert_eq!(turn.step(0, true), Step::Read);
}

#[test]
fn a_leader_that_is_held_up_is_replaced() {
    let mut turn = with_requests([7, 8]);
    assert_eq!(turn.step(0, false), enter(7, true));
    assert_eq!(turn.step(1, false), Step::Park);
    assert_eq!(turn.tick(), Tick { wake: Some(1), again: false });
    assert_eq!(turn.step(1, false), enter(8, true));
    assert_eq!(turn.step(0, true), Step::Park);
}

#[test]
fn a_leader_that_moves_on_is_not() {
    let mut turn = with_requests([7, 8]);
    assert_eq!(turn.step(0, false), enter(7, true));
    assert_eq!(turn.step(1, false), Step::Park);
    assert_eq!(turn.step(0, true), enter(8, false));
    assert_eq!(turn.tick(), Tick { wake: None, again: true });
    assert_eq!(turn.tick(), Tick { wake: Some(1), again: false });
}

#[test]
fn the_clock_stops_when_nobody_is_inside() {
    let mut turn = with_requests([7]);
    assert_eq!(turn.step(0, false), enter(7, true));
    assert_eq!(turn.step(0, true), Step::Read);
    assert_eq!(turn.tick(), Tick { wake: None, again: false });
    turn.push([8]);
    assert_eq!(turn.step(0, false), enter(8, true));
}

#[test]
fn when_all_are_held_up_the_first_to_return_leads() {
    let mut turn = with_requests([7, 8, 9]);
    assert_eq!(turn.step(0, false), enter(7, true));
    assert_eq!(turn.tick(), Tick { wake: None, again: false });
    assert_eq!(turn.step(1, false), enter(8, true));
    assert_eq!(turn.tick(), Tick { wake: None, again: false });
    assert_eq!(turn.step(0, true), enter(9, true));
}

#[test]
fn whoever_waits_reads_itself_when_nobody_else_does() {
    let mut turn = with_requests([7]);
    assert_eq!(turn.step(0, false), enter(7, true));
    assert_eq!(turn.wait(0), Wait::Read);
    assert!(!turn.end_wait(0), "the clock runs already");
}

#[test]
fn whoever_waits_leaves_requests_to_the_idle() {
    let mut turn = with_requests([7, 8]);
    assert_eq!(turn.step(0, false), enter(7, true));
    assert_eq!(turn.step(1, false), Step::Park);
    assert_eq!(turn.wait(0), Wait::Park { wake: Some(1) });
    assert_eq!(turn.step(1, false), enter(8, false));
    assert_eq!(turn.step(1, true), Step::Read);
    assert!(!turn.end_wait(0));
    assert_eq!(turn.step(0, true), Step::Park);
}

#[test]
fn whoever_comes_while_the_leader_waits_takes_from_the_line() {
    let mut turn = with_requests([7, 8]);
    assert_eq!(turn.step(0, false), enter(7, true));
    assert_eq!(turn.tick(), Tick { wake: None, again: false });
    assert_eq!(turn.step(1, false), enter(8, true));
    assert_eq!(turn.wait(1), Wait::Read);
    turn.push([9, 10]);
    assert_eq!(turn.step(0, true), enter(9, false));
    assert_eq!(turn.step(0, true), enter(10, false));
    assert_eq!(turn.step(0, true), Step::Park);
}

#[test]
fn requests_that_lie_while_the_leader_waits_wake_the_idle() {
    let mut turn = with_requests([7]);
    assert_eq!(turn.step(0, false), enter(7, true));
    assert_eq!(turn.step(1, false), Step::Park);
    assert_eq!(turn.wait(0), Wait::Read);
    turn.push([8]);
    assert_eq!(turn.tick(), Tick { wake: Some(1), again: false });
    assert_eq!(turn.step(1, false), enter(8, true));
}

#[test]
fn a_closed_turn_ends_when_nothing_is_left() {
    let mut turn = with_requests([7, 8]);
    assert_eq!(turn.step(0, false), enter(7, true));
    turn.close();
    assert_eq!(turn.step(0, true), enter(8, false));
    assert_eq!(turn.step(1, false), Step::Park);
    assert!(!turn.is_over());
    assert_eq!(turn.step(0, true), Step::End);
    assert_eq!(turn.idle(), [1]);
    assert_eq!(turn.step(1, false), Step::End);
}

#[test]
fn a_closed_turn_waits_for_those_inside() {
    let mut turn = with_requests([7]);
    assert_eq!(turn.step(0, false), enter(7, true));
    assert_eq!(turn.tick(), Tick { wake: None, again: false });
    turn.close();
    assert_eq!(turn.step(1, false), Step::Read);
    assert_eq!(turn.step(0, true), Step::End);
    assert_eq!(turn.step(1, false), Step::End);
}

/// What a simulated thread is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    /// About to ask.
    Awake,
    Parked,
    Inside,
    WaitsAsleep,
}

proptest! {
    /// Whatever happens, no request is entered twice or forgotten: once all views return and the
    /// clock runs, the line is empty and one thread reads.
    #[test]
    fn nothing_is_left_lying(moves in proptest::collection::vec((0_u8..6, 0_usize..3), 0..200)) {
        let mut turn = Turn::new();
        let mut threads = [Doing::Awake; 3];
        let (mut sent, mut entered) = (0_u32, 0_u32);
        let settle = moves.len();
        let calm = (0..300).map(|n| (if n % 4 == 0 { 5 } else { 1 }, n % 3));
        for (at, (kind, seat)) in moves.into_iter().chain(calm).enumerate() {
            let mut wake = None;
            match (kind, threads[seat]) {
                (0, _) if at < settle => { turn.push([sent]); sent += 1; }
                (1 | 2, Doing::Awake | Doing::Inside) => {
                    let was_inside = threads[seat] == Doing::Inside;
                    threads[seat] = match turn.step(seat, was_inside) {
                        Step::Enter { item, .. } => {
                            prop_assert_eq!(item, entered);
                            entered += 1;
                            Doing::Inside
                        }
                        Step::Read => Doing::Awake,
                        Step::Park => Doing::Parked,
                        Step::End => unreachable!("the turn was not closed"),
                    };
                }
                (1, Doing::WaitsAsleep) => {
                    turn.end_wait(seat);
                    threads[seat] = Doing::Inside;
                }
                (3, Doing::Inside) => match turn.wait(seat) {
                    Wait::Read => { turn.end_wait(seat); }
                    Wait::Park { wake: other } => { threads[seat] = Doing::WaitsAsleep; wake = other; }
                },
                (5, _) => wake = turn.tick().wake,
                _ => {}
            }
            if let Some(seat) = wake && threads[seat] == Doing::Parked {
                threads[seat] = Doing::Awake;
            }
        }
        prop_assert_eq!(entered, sent);
        prop_assert!(threads.contains(&Doing::Awake), "nobody reads: {:?}", threads);
    }
}
