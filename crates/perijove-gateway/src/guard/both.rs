//! Two guards at one door, one behind the other.

use std::{pin::Pin, sync::Arc};

use crate::{Client, Guard, Pass, Question, Verdict};

/// Asks the second about those whom the first lets pass. What the first has found out about a client
/// is known to the second.
#[derive(Debug)]
pub(crate) struct Both {
    pub(crate) first: Arc<dyn Guard>,
    pub(crate) second: Arc<dyn Guard>,
}

impl Both {
    async fn judge(&self, question: Question<'_>) -> Verdict {
        let first = match self.first.check(question).await {
            Verdict::Pass(pass) => pass,
            other => return other,
        };
        let told = told(question.client, &first);
        let question = Question { client: told.as_ref().unwrap_or(question.client), ..question };
        match self.second.check(question).await {
            Verdict::Pass(second) => Verdict::Pass(joined(first, second)),
            other => other,
        }
    }
}

impl Guard for Both {
    fn check<'a>(
        &'a self,
        question: Question<'a>,
    ) -> Pin<Box<dyn Future<Output = Verdict> + Send + 'a>> {
        Box::pin(self.judge(question))
    }
}

/// The client as the first guard knows it; `None` where it has found out nothing.
fn told(client: &Client, pass: &Pass) -> Option<Client> {
    (!pass.proven.is_empty()).then(|| {
        let mut client = client.clone();
        client.learn(&pass.proven);
        client
    })
}

fn joined(first: Pass, second: Pass) -> Pass {
    let mut fields = first.fields;
    fields.extend(&second.fields);
    Pass {
        subject: second.subject.or(first.subject),
        proven: first.proven.into_iter().chain(second.proven).collect(),
        fields,
        // Whoever wants to be asked sooner.
        ask_again: first.ask_again.into_iter().chain(second.ask_again).min(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{Denial, Head, Scheme};

    /// Lets pass those of whom it is said what it waits for, and says something itself.
    #[derive(Debug)]
    struct One {
        waits_for: Option<&'static str>,
        says: &'static str,
        ask_again: Option<Duration>,
    }

    impl Guard for One {
        fn check<'a>(
            &'a self,
            question: Question<'a>,
        ) -> Pin<Box<dyn Future<Output = Verdict> + Send + 'a>> {
            let known = question.client.proven.as_deref();
            let is_known = self.waits_for.is_none_or(|name| {
                known.is_some_and(|proven| proven.fields.iter().any(|(known, _)| known == name))
            });
            Box::pin(async move {
                if !is_known {
                    return Verdict::Deny(Box::new(Denial::new(403, self.says)));
                }
                Verdict::Pass(Pass {
                    proven: vec![(self.says.to_owned(), String::new())],
                    ask_again: self.ask_again,
                    ..Pass::default()
                })
            })
        }
    }

    #[tokio::test]
    async fn the_second_is_asked_about_those_whom_the_first_knows() {
        let one = |waits_for, says, seconds: Option<u64>| {
            let ask_again = seconds.map(Duration::from_secs);
            Arc::new(One { waits_for, says, ask_again }) as Arc<dyn Guard>
        };
        let check = async |first, second, expected: Result<(&str, Option<u64>), &str>| {
            let head = Head::from_parts("GET", b"/", &[(b"Host", b"h")]).unwrap();
            let client = Client {
                address: None,
                scheme: Scheme::Http,
                host: "h".into(),
                port: 80,
                peer: None,
                request_id: "1".into(),
                trace: None,
                proven: None,
            };
            let question = Question { head: &head, client: &client, is_open: false };
            let told = match (Both { first, second }).check(question).await {
                Verdict::Pass(pass) => {
                    let names: Vec<_> = pass.proven.into_iter().map(|(name, _)| name).collect();
                    Ok((names.join(" "), pass.ask_again.map(|time| time.as_secs())))
                }
                Verdict::Deny(denial) => Err(denial.what),
                _ => Err("something else"),
            };
            assert_eq!(told, expected.map(|(names, again)| (names.to_owned(), again)));
        };
        check(one(None, "a", Some(9)), one(Some("a"), "b", Some(5)), Ok(("a b", Some(5)))).await;
        check(one(None, "a", Some(9)), one(None, "b", None), Ok(("a b", Some(9)))).await;
        check(one(None, "a", None), one(Some("x"), "b", None), Err("b")).await;
        check(one(Some("x"), "a", None), one(None, "b", None), Err("a")).await;
    }
}
