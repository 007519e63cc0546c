//! What went wrong, in words for whoever must mend it: the object, what was tried, the server's own reason, the way out.
//!
//! In: an error of `object_store`, whose text holds addresses, counters and XML. Out: an error of the store in one line.
//! Its kind says whether another try may help.

use std::{
    error::Error as _,
    io::{self, ErrorKind},
    path::Path,
};

use object_store::Error;

use crate::{Bucket, Provider, StoreError};

/// Characters of a server's answer that are passed on.
const LONGEST: usize = 300;
/// Where machines of a cloud ask for credentials, when they were given none.
const MACHINES: [&str; 2] = ["169.254.", "metadata.google.internal"];

/// Whether it is the object that is not there, and not the bucket.
pub fn absent(error: &Error) -> bool {
    matches!(error, Error::NotFound { .. }) && !no_bucket(&whole(error))
}

/// Settings that cannot be used.
pub fn settings(bucket: &Bucket, error: &Error) -> StoreError {
    let text = format!("{}; correct the settings: {}", reason(&whole(error)), source(bucket));
    StoreError::io(Path::new(&bucket.to_string()), "connect")(io::Error::new(ErrorKind::InvalidInput, text))
}

/// A request that failed. `credentials`: whether some were given.
pub fn told(bucket: &Bucket, credentials: bool, at: &Path, verb: &'static str, error: &Error) -> StoreError {
    let text = whole(error);
    let refused = matches!(error, Error::PermissionDenied { .. } | Error::Unauthenticated { .. });
    let asked_machine = MACHINES.iter().any(|machine| text.contains(machine));
    let (kind, way_out) = match bucket.provider {
        Provider::Files => (ErrorKind::Other, "see to the folder and its disk".to_owned()),
        _ if no_bucket(&text) => {
            let name = &bucket.name;
            (ErrorKind::NotFound, format!("make the bucket {name:?}, or correct the URI, the region or the endpoint"))
        }
        provider if !credentials => {
            let kind = if refused || asked_machine { ErrorKind::PermissionDenied } else { ErrorKind::Other };
            (kind, format!("no credentials were given: set {}", source_of(provider)))
        }
        provider if refused => {
            let rights = match provider {
                Provider::Google => "storage.objects.get, list, create and delete",
                Provider::S3 | Provider::Files => "s3:GetObject, s3:PutObject, s3:DeleteObject and s3:ListBucket",
            };
            let text = format!("grant them {rights} in {bucket}, or give others: {}", source_of(provider));
            (ErrorKind::PermissionDenied, text)
        }
        provider => {
            (ErrorKind::Other, format!("see that it can be reached from here; settings: {}", source_of(provider)))
        }
    };
    StoreError::io(at, verb)(io::Error::new(kind, format!("{}; {way_out}", reason(&text))))
}

fn source(bucket: &Bucket) -> &'static str {
    source_of(bucket.provider)
}

fn source_of(provider: Provider) -> &'static str {
    match provider {
        Provider::S3 => {
            "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL in the environment (in a cluster: \
             keys of the Secret that store.secretRef names)"
        }
        Provider::Google => {
            "GOOGLE_SERVICE_ACCOUNT_KEY in the environment (in a cluster: a key of the Secret that store.secretRef names)"
        }
        Provider::Files => "the folder in the URI",
    }
}

fn no_bucket(text: &str) -> bool {
    ["NoSuchBucket", "bucket does not exist"].iter().any(|sign| text.contains(sign))
}

/// The error with its causes, each once.
fn whole(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let told = error.to_string();
        if !text.contains(&told) {
            text = format!("{text}: {told}");
        }
        cause = error.source();
    }
    text
}

/// What the server said, or what kept it from being asked, in a line.
fn reason(text: &str) -> String {
    let element = |name: &str| {
        let rest = text.split_once(&format!("<{name}>"))?.1;
        Some(rest.split_once(&format!("</{name}>"))?.0)
    };
    let said = match (element("Code"), element("Message")) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code.to_owned(),
        _ => text.split_once(" - ").map_or(text, |(_request, said)| said).to_owned(),
    };
    let line = said.split_whitespace().collect::<Vec<_>>().join(" ");
    let line = line.trim_end_matches(['.', ':', ' ']);
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DENIED: &str = "Error performing PUT https://s3.eu-west-1.amazonaws.com/models/a in 2ms - Server returned non-2xx status code: 403 Forbidden: <?xml version=\"1.0\"?>\n<Error><Code>AccessDenied</Code>\n<Message>Access Denied.</Message></Error>";

    fn bucket(provider: Provider) -> Bucket {
        Bucket { provider, name: "models".to_owned(), prefix: String::new() }
    }

    fn told_of(provider: Provider, credentials: bool, error: &Error) -> (ErrorKind, String) {
        let at = Path::new("s3://models/datasets/a/1/manifest.json");
        match told(&bucket(provider), credentials, at, "read", error) {
            StoreError::Io { source, path, verb } => (source.kind(), format!("{}: {verb}: {source}", path.display())),
            other => panic!("{other}"),
        }
    }

    #[test]
    fn the_server_and_the_way_out_are_told() {
        let path = || "datasets/a".to_owned();
        let missing = Error::NotFound { path: path(), source: "<Code>NoSuchBucket</Code>".into() };
        let key = Error::NotFound { path: path(), source: "<Code>NoSuchKey</Code>".into() };
        assert!(absent(&key) && !absent(&missing));
        let (kind, text) = told_of(Provider::S3, true, &missing);
        assert_eq!(kind, ErrorKind::NotFound);
        assert!(text.contains("NoSuchBucket; make the bucket \"models\""), "{text}");

        let denied = Error::PermissionDenied { path: path(), source: DENIED.into() };
        let (kind, text) = told_of(Provider::S3, true, &denied);
        assert_eq!(kind, ErrorKind::PermissionDenied);
        assert!(
            text.starts_with("s3://models/datasets/a/1/manifest.json: read: AccessDenied: Access Denied; grant"),
            "{text}"
        );
        assert!(text.contains("s3:ListBucket") && text.contains("store.secretRef"), "{text}");

        let (kind, text) = told_of(Provider::S3, false, &denied);
        assert_eq!(kind, ErrorKind::PermissionDenied);
        assert!(text.contains("no credentials were given: set AWS_ACCESS_KEY_ID"), "{text}");
        let machine = "Error performing PUT http://169.254.169.254/latest/api/token in 1s - timed out";
        let machine = Error::Generic { store: "S3", source: machine.into() };
        let (kind, text) = told_of(Provider::S3, false, &machine);
        assert_eq!(kind, ErrorKind::PermissionDenied);
        assert!(text.contains("timed out; no credentials were given"), "{text}");

        let elsewhere = Error::Generic { store: "S3", source: "GET x - connection refused".into() };
        let (kind, text) = told_of(Provider::S3, false, &elsewhere);
        assert_eq!(kind, ErrorKind::Other, "another try may help");
        assert!(text.contains("connection refused; no credentials were given"), "{text}");

        let (_, text) = told_of(Provider::Google, true, &denied);
        assert!(text.contains("GOOGLE_SERVICE_ACCOUNT_KEY"), "{text}");
        let unreachable = Error::Generic { store: "S3", source: "GET x - connection refused".into() };
        let (kind, text) = told_of(Provider::S3, true, &unreachable);
        assert_eq!(kind, ErrorKind::Other, "another try may help");
        assert!(text.contains("connection refused; see that it can be reached"), "{text}");
    }

    #[test]
    fn long_answers_are_cut() {
        assert_eq!(reason(&"é".repeat(400)).chars().count(), LONGEST + 1);
    }
}
