//! A guard that lets pass by where a client comes from and by the certificate it showed, and then asks
//! another, if there is one.

use std::{net::IpAddr, pin::Pin, sync::Arc};

use crate::{Denial, Guard, Pass, Question, Verdict, forwarded::contains};

/// Who may pass to a route. Everybody, as it begins.
#[derive(Debug, Default)]
pub struct Access {
    /// Networks whose clients may not, as address and prefix length.
    pub deny: Vec<(IpAddr, u8)>,
    /// If there are any: networks whose clients alone may. Who comes by a Unix socket has no address,
    /// and is not among them.
    pub allow: Vec<(IpAddr, u8)>,
    /// Only clients with a certificate that was verified.
    pub needs_certificate: bool,
    /// Asked about those who may pass so far.
    pub then: Option<Arc<dyn Guard>>,
}

impl Access {
    /// Whether anybody could be refused.
    pub fn is_open(&self) -> bool {
        self.deny.is_empty()
            && self.allow.is_empty()
            && !self.needs_certificate
            && self.then.is_none()
    }

    /// Why a client may not pass.
    fn objection(&self, question: &Question<'_>) -> Option<&'static str> {
        let address = question.client.address.map(|address| address.ip());
        let is_in = |networks: &[_]| address.is_some_and(|address| contains(networks, address));
        if is_in(&self.deny) || (!self.allow.is_empty() && !is_in(&self.allow)) {
            return Some("this address may not come here");
        }
        let proven = question.client.proven.as_deref();
        let has_certificate = proven.is_some_and(|proven| proven.certificate.is_some());
        (self.needs_certificate && !has_certificate)
            .then_some("this place needs a certificate of the client")
    }
}

impl Guard for Access {
    fn check<'a>(
        &'a self,
        question: Question<'a>,
    ) -> Pin<Box<dyn Future<Output = Verdict> + Send + 'a>> {
        if let Some(objection) = self.objection(&question) {
            return Box::pin(async { Verdict::Deny(Box::new(Denial::new(403, objection))) });
        }
        match &self.then {
            Some(then) => then.check(question),
            None => Box::pin(async { Verdict::Pass(Pass::default()) }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Client, Head, Proven, Scheme};

    async fn check(access: &Access, address: Option<&str>, has_shown: bool, expected: u16) {
        let head = Head::from_parts("GET", b"/", &[(b"Host", b"h")]).unwrap();
        let certificate = crate::Certificate {
            subject: String::new(),
            issuer: String::new(),
            name: String::new(),
            serial: String::new(),
            fingerprint: String::new(),
            names: String::new(),
        };
        let shown = Proven { certificate: Some(certificate), fields: Vec::new() };
        let client = Client {
            address: address.map(|address| (address.parse::<IpAddr>().unwrap(), 1).into()),
            scheme: Scheme::Https,
            host: "h".into(),
            port: 443,
            peer: None,
            request_id: "1".into(),
            trace: None,
            proven: has_shown.then(|| shown.into()),
        };
        let question = Question { head: &head, client: &client, is_open: false };
        let status = match access.check(question).await {
            Verdict::Pass(_) => 200,
            Verdict::Deny(denial) => denial.status,
            Verdict::Refuse(_) | Verdict::Reroute(_) => 0,
        };
        assert_eq!(status, expected, "{access:?} {address:?}");
    }

    #[tokio::test]
    async fn who_may_pass_is_said_by_networks_and_certificates() {
        let network = |text: &str, length| (text.parse().unwrap(), length);
        let open = Access::default();
        assert!(open.is_open());
        check(&open, Some("192.0.2.1"), false, 200).await;
        check(&open, None, false, 200).await;
        let inside = Access { allow: vec![network("10.0.0.0", 8)], ..Access::default() };
        assert!(!inside.is_open());
        check(&inside, Some("10.1.1.1"), false, 200).await;
        check(&inside, Some("192.0.2.1"), false, 403).await;
        check(&inside, None, false, 403).await;
        let but = Access { deny: vec![network("10.6.0.0", 16)], ..inside };
        check(&but, Some("10.1.1.1"), false, 200).await;
        check(&but, Some("10.6.1.1"), false, 403).await;
        let known = Access { needs_certificate: true, ..Access::default() };
        check(&known, Some("10.1.1.1"), false, 403).await;
        check(&known, Some("10.1.1.1"), true, 200).await;
        let both = Access { then: Some(Arc::new(but)), ..known };
        check(&both, Some("10.1.1.1"), true, 200).await;
        check(&both, Some("10.6.1.1"), true, 403).await;
    }
}
