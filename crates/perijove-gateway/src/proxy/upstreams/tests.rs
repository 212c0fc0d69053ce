use std::{sync::Arc, task::Poll, time::Duration};

use tokio::task::JoinSet;

use super::{
    Protocol, Slot, Unavailable, Upstream, UpstreamAddress, UpstreamId, UpstreamSettings,
    Upstreams, Work,
};

fn set(queue: usize, wait: Duration) -> Arc<Upstreams> {
    Upstreams::new(UpstreamSettings { wait, queue, ..UpstreamSettings::default() })
}

fn add(upstreams: &Upstreams, capacity: Option<usize>) -> UpstreamId {
    upstreams.add(Upstream {
        address: UpstreamAddress::Tcp("127.0.0.1:1".to_owned()),
        protocol: Protocol::Http1,
        capacity,
        account: None,
        is_replaced: false,
    })
}

/// What `take` says at once; `None` when it waits.
async fn now(upstreams: &Upstreams) -> Option<Result<Slot, Unavailable>> {
    let mut taking = std::pin::pin!(upstreams.take());
    std::future::poll_fn(|context| match taking.as_mut().poll(context) {
        Poll::Ready(result) => Poll::Ready(Some(result)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

async fn id(upstreams: &Upstreams) -> UpstreamId {
    upstreams.take().await.unwrap().member().id()
}

#[tokio::test]
async fn the_least_busy_is_taken() {
    let upstreams = set(0, Duration::ZERO);
    let ids = [add(&upstreams, None), add(&upstreams, None), add(&upstreams, None)];
    let mut taken = Vec::new();
    for _ in 0..6 {
        taken.push(upstreams.take().await.unwrap());
    }
    for id in ids {
        assert_eq!(taken.iter().filter(|slot| slot.member().id() == id).count(), 2);
    }
    taken.retain(|slot| slot.member().id() != ids[1]);
    assert_eq!(id(&upstreams).await, ids[1]);
    assert_eq!(upstreams.load(), (4, 0));
}

#[tokio::test]
async fn one_that_could_not_be_reached_is_taken_last() {
    let upstreams = set(0, Duration::ZERO);
    let ids = [add(&upstreams, Some(1)), add(&upstreams, Some(1))];
    let slot = upstreams.take().await.unwrap();
    assert_eq!(slot.member().id(), ids[0]);
    slot.member().rest();
    drop(slot);
    let other = upstreams.take().await.unwrap();
    assert_eq!(other.member().id(), ids[1]);
    assert_eq!(id(&upstreams).await, ids[0]);
    drop(other);
    upstreams.find(ids[0]).unwrap().wake();
    assert_eq!(id(&upstreams).await, ids[0]);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_replaced_is_not_asked_while_it_rests() {
    let check = async |is_seen_well: bool| {
        let upstreams = set(1, Duration::from_secs(60));
        let id = upstreams.add(Upstream {
            address: UpstreamAddress::Tcp("127.0.0.1:1".to_owned()),
            protocol: Protocol::Http1,
            capacity: None,
            account: None,
            is_replaced: true,
        });
        upstreams.take().await.unwrap().member().rest();
        assert!(now(&upstreams).await.is_none());
        let begun = tokio::time::Instant::now();
        let seen = async {
            if is_seen_well {
                upstreams.reached(id);
            }
        };
        let (slot, ()) = tokio::join!(upstreams.take(), seen);
        slot.unwrap();
        assert_eq!(begun.elapsed() < Duration::from_millis(100), is_seen_well);
    };
    check(true).await;
    check(false).await;
}

#[tokio::test]
async fn who_came_first_is_served_first() {
    let upstreams = set(8, Duration::from_secs(60));
    add(&upstreams, Some(1));
    let slot = upstreams.take().await.unwrap();
    let order = Arc::new(std::sync::Mutex::new(Vec::new()));
    let mut waiters = JoinSet::new();
    for number in 0..4 {
        let (theirs, order) = (upstreams.clone(), order.clone());
        waiters.spawn(async move {
            let slot = theirs.take().await.unwrap();
            order.lock().unwrap().push(number);
            tokio::task::yield_now().await;
            drop(slot);
        });
        while upstreams.load().1 <= number {
            tokio::task::yield_now().await;
        }
    }
    drop(slot);
    // A newcomer does not overtake those in line.
    assert!(now(&upstreams).await.is_none());
    waiters.join_all().await;
    assert_eq!(*order.lock().unwrap(), [0, 1, 2, 3]);
    assert_eq!(upstreams.load(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn the_line_is_bounded_in_length_and_time() {
    let upstreams = set(1, Duration::from_secs(7));
    let start = tokio::time::Instant::now();
    let waiting = tokio::spawn({
        let upstreams = upstreams.clone();
        async move { upstreams.take().await.err() }
    });
    while upstreams.load().1 == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(now(&upstreams).await.unwrap().unwrap_err(), Unavailable::LineFull);
    assert_eq!(waiting.await.unwrap(), Some(Unavailable::Late));
    assert_eq!(start.elapsed().as_secs(), 7);
    assert_eq!(upstreams.load(), (0, 0));
}

#[tokio::test]
async fn who_leaves_the_line_is_not_served() {
    let upstreams = set(8, Duration::from_secs(60));
    assert!(now(&upstreams).await.is_none());
    assert_eq!(upstreams.load(), (0, 0));
    let mut waiting = Box::pin(upstreams.take());
    std::future::poll_fn(|context| {
        assert!(waiting.as_mut().poll(context).is_pending());
        Poll::Ready(())
    })
    .await;
    // The slot is handed over by `add`, and given back when nobody fetches it.
    add(&upstreams, Some(1));
    assert_eq!(upstreams.load(), (1, 0));
    drop(waiting);
    assert_eq!(upstreams.load(), (0, 0));
    upstreams.take().await.unwrap();
}

#[tokio::test]
async fn one_that_leaves_is_drained_when_its_last_request_ends() {
    let upstreams = set(8, Duration::from_secs(60));
    let old = add(&upstreams, None);
    let slots = [upstreams.take().await.unwrap(), upstreams.take().await.unwrap()];
    upstreams.remove(old);
    let new = add(&upstreams, None);
    assert_eq!(id(&upstreams).await, new);
    let drained = tokio::spawn({
        let upstreams = upstreams.clone();
        async move { upstreams.drained(old).await }
    });
    let [first, second] = slots;
    drop(first);
    tokio::task::yield_now().await;
    assert!(!drained.is_finished());
    assert!(second.member().leaving().is_cancelled());
    assert!(!second.member().failed().is_cancelled());
    upstreams.fail(old);
    assert!(second.member().failed().is_cancelled());
    drop(second);
    drained.await.unwrap();
    upstreams.drained(old).await;
}

/// Takes and gives back, again and again, from several tasks of one thread.
async fn crowd(upstreams: Arc<Upstreams>) {
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let upstreams = upstreams.clone();
        tasks.spawn(async move {
            for _ in 0..100 {
                let slot = upstreams.take().await.unwrap();
                assert!(upstreams.load().0 <= 3);
                tokio::task::yield_now().await;
                drop(slot);
            }
        });
    }
    tasks.join_all().await;
}

#[test]
fn threads_share_a_narrow_set_without_losing_a_place() {
    let upstreams = set(64, Duration::from_secs(60));
    let ids = [add(&upstreams, Some(1)), add(&upstreams, Some(2))];
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
                runtime.unwrap().block_on(crowd(upstreams.clone()));
            });
        }
    });
    assert_eq!(upstreams.load(), (0, 0));
    assert!(ids.iter().all(|id| upstreams.find(*id).is_some()));
}

#[tokio::test]
async fn upgraded_connections_are_told_apart() {
    let upstreams = set(8, Duration::from_secs(60));
    let id = add(&upstreams, None);
    let (request, mut open) = (upstreams.take().await.unwrap(), upstreams.take().await.unwrap());
    open.upgrade();
    let work = Work { served: 2, under_way: 2, upgraded: 1 };
    assert_eq!(upstreams.work(id), Some(work));
    upstreams.remove(id);
    let answered = tokio::spawn({
        let upstreams = upstreams.clone();
        async move { upstreams.answered(id).await }
    });
    tokio::task::yield_now().await;
    assert!(!answered.is_finished());
    drop(request);
    answered.await.unwrap();
    upstreams.dismiss(id);
    assert!(open.member().dismissed().is_cancelled());
    drop(open);
    upstreams.hung_up(id).await;
}

#[tokio::test]
async fn trouble_is_kept_until_somebody_asks() {
    let upstreams = set(8, Duration::from_secs(60));
    let id = add(&upstreams, None);
    upstreams.take().await.unwrap().member().rest();
    upstreams.troubled(id).await;
    let again = tokio::time::timeout(Duration::from_millis(1), upstreams.troubled(id));
    assert!(again.await.is_err());
}

#[test]
fn who_carries_many_requests_at_once_takes_bodies_as_they_come() {
    let upstreams = Upstreams::new(UpstreamSettings::default());
    let add = |takes_websockets| {
        let secret = crate::Secret::new("secret");
        upstreams.add(Upstream {
            address: crate::UpstreamAddress::Unix("w.sock".into()),
            protocol: Protocol::Frames { secret, takes_websockets },
            capacity: None,
            account: None,
            is_replaced: false,
        });
        upstreams.takes_streams()
    };
    assert!(!add(false));
    assert!(add(true));
    assert!(!add(false));
}

#[tokio::test]
async fn others_are_asked_no_more_and_finish_what_they_have() {
    let upstreams = set(8, Duration::from_secs(60));
    let old = [add(&upstreams, None), add(&upstreams, None)];
    let slot = upstreams.take().await.unwrap();
    let new = add(&upstreams, None);
    upstreams.remove_others(&[new]);
    for _ in 0..3 {
        assert_eq!(id(&upstreams).await, new);
    }
    assert!(slot.member().leaving().is_cancelled() && !slot.member().failed().is_cancelled());
    assert_eq!(upstreams.load(), (1, 0));
    // They may be taken out again by whoever ran them.
    for id in &old {
        upstreams.remove(*id);
    }
    drop(slot);
    upstreams.drained(old[0]).await;
}
