//! From a place and settings to a connected object store. In: the process's environment, as pairs. Out: a store of
//! `object_store`, and whether credentials were given.
//!
//! Settings are those of `object_store`: every `AWS_…` or `GOOGLE_…` that it knows. Others are passed over, since an
//! environment holds many. Requests are tried again a few times, for a minute at most.

use std::{fs, path::Path, sync::Arc, time::Duration};

use object_store::{
    BackoffConfig, ObjectStore, RetryConfig,
    aws::{AmazonS3Builder, AmazonS3ConfigKey},
    gcp::{GoogleCloudStorageBuilder, GoogleConfigKey},
    local::LocalFileSystem,
};

use super::told;
use crate::{Bucket, Provider, Result, StoreError};

/// Tries beyond the first.
const RETRIES: usize = 5;
/// After which no other try begins.
const PATIENCE: Duration = Duration::from_secs(60);

/// Builds the store.
pub fn connect(
    bucket: &Bucket,
    settings: impl IntoIterator<Item = (String, String)>,
) -> Result<(Arc<dyn ObjectStore>, bool)> {
    // The process's one provider of cryptography; whoever was first has chosen the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let at = bucket.to_string();
    let refused = |error: object_store::Error| told::settings(bucket, &error);
    match bucket.provider {
        Provider::S3 => {
            let mut builder = AmazonS3Builder::new().with_retry(retry());
            let mut credentials = false;
            for (key, value) in known::<AmazonS3ConfigKey>("AWS_", settings) {
                use AmazonS3ConfigKey as Key;
                credentials |= matches!(
                    key,
                    Key::AccessKeyId
                        | Key::SecretAccessKey
                        | Key::WebIdentityTokenFile
                        | Key::ContainerCredentialsRelativeUri
                        | Key::ContainerCredentialsFullUri
                        | Key::SkipSignature
                );
                builder = builder.with_config(key, value);
            }
            let store = builder.with_bucket_name(&bucket.name).build().map_err(refused)?;
            Ok((Arc::new(store), credentials))
        }
        Provider::Google => {
            let mut builder = GoogleCloudStorageBuilder::new().with_retry(retry());
            let mut credentials = false;
            for (key, value) in known::<GoogleConfigKey>("GOOGLE_", settings) {
                use GoogleConfigKey as Key;
                credentials |= matches!(
                    key,
                    Key::ServiceAccount
                        | Key::ServiceAccountKey
                        | Key::ApplicationCredentials
                        | Key::BearerToken
                        | Key::SkipSignature
                );
                builder = builder.with_config(key, value);
            }
            let store = builder.with_bucket_name(&bucket.name).build().map_err(refused)?;
            Ok((Arc::new(store), credentials))
        }
        Provider::Files => {
            let folder = Path::new("/").join(&bucket.prefix);
            fs::create_dir_all(&folder).map_err(StoreError::io(Path::new(&at), "create"))?;
            let store = LocalFileSystem::new_with_prefix(&folder).map_err(refused)?.with_automatic_cleanup(true);
            Ok((Arc::new(store), true))
        }
    }
}

fn known<K: std::str::FromStr>(
    prefix: &str,
    settings: impl IntoIterator<Item = (String, String)>,
) -> impl Iterator<Item = (K, String)> {
    settings.into_iter().filter_map(move |(name, value)| {
        let key = name.starts_with(prefix).then(|| name.to_ascii_lowercase().parse().ok())??;
        Some((key, value))
    })
}

fn retry() -> RetryConfig {
    RetryConfig { backoff: BackoffConfig::default(), max_retries: RETRIES, retry_timeout: PATIENCE }
}
