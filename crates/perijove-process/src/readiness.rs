//! Until something answers: asked for again and again, never slept for blindly.

use std::time::Duration;

use thiserror::Error;
use tokio::time::{Instant, sleep, timeout_at};

const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Why something did not become ready.
#[derive(Debug, Error)]
pub enum NotReady<Gone, Failure> {
    /// It ended, as this says.
    #[error("it ended before it was ready")]
    Ended(Gone),
    /// Time is up; the last failure of the probe, when there was one.
    #[error("it was not ready in time")]
    Late(Option<Failure>),
}

/// Probes until the answer comes, `ended` is known, or `within` is over, whichever is first.
///
/// A probe may wait for its answer as long as it likes (for a line that is printed, for a socket
/// that listens already but is not served yet); only after a failure there is a pause before the
/// next one.
pub async fn until_ready<Answer, Failure, Gone, Probing>(
    mut probe: impl FnMut() -> Probing,
    ended: impl Future<Output = Gone>,
    within: Duration,
) -> Result<Answer, NotReady<Gone, Failure>>
where
    Probing: Future<Output = Result<Answer, Failure>>,
{
    let deadline = Instant::now() + within;
    let mut last_failure = None;
    let answer = async {
        let mut pause = FIRST_PAUSE;
        loop {
            match probe().await {
                Ok(answer) => return answer,
                Err(failure) => last_failure = Some(failure),
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    };
    let first = async {
        tokio::select! {
            biased;
            answer = answer => Ok(answer),
            gone = ended => Err(gone),
        }
    };
    match timeout_at(deadline, first).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(gone)) => Err(NotReady::Ended(gone)),
        Err(_) => Err(NotReady::Late(last_failure)),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        future::{pending, ready},
    };

    use super::*;

    #[derive(Debug, PartialEq)]
    enum Got {
        Ready(u32),
        Ended(&'static str),
        Late(Option<u32>),
    }

    /// The probe fails so many times, then answers with the number of the try.
    async fn check(failures: u32, ended: impl Future<Output = &'static str>, expected: Got) {
        let mut tries = 0;
        let probe = || {
            tries += 1;
            ready(if tries > failures { Ok(tries) } else { Err(tries) })
        };
        let got = match until_ready(probe, ended, Duration::from_secs(2)).await {
            Ok(answer) => Got::Ready(answer),
            Err(NotReady::Ended(gone)) => Got::Ended(gone),
            Err(NotReady::Late(failure)) => Got::Late(failure),
        };
        assert_eq!(got, expected);
    }

    #[tokio::test(start_paused = true)]
    async fn whichever_is_first() {
        let in_a_second = async {
            sleep(Duration::from_secs(1)).await;
            "gone"
        };
        check(0, pending(), Got::Ready(1)).await;
        check(3, pending(), Got::Ready(4)).await;
        check(0, ready("gone"), Got::Ready(1)).await;
        check(1, ready("gone"), Got::Ended("gone")).await;
        check(3, in_a_second, Got::Ready(4)).await;
        check(u32::MAX, pending(), Got::Late(Some(9))).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_hangs_ends_with_the_time() {
        let late =
            until_ready(pending::<Result<(), Infallible>>, pending::<()>(), Duration::from_secs(5))
                .await;
        assert!(matches!(late, Err(NotReady::Late(None))), "{late:?}");
    }
}
