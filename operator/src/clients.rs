//! The connections to the API server: one for the work, behind the fence, and one for the lease, which nothing delays.
//!
//! In: where the API server is, from the pod's service account or from `KUBECONFIG`. Out: clients that never try
//! again by themselves: whoever asked knows when it is worth it.

use kube::{Client, Config, client::ClientBuilder};

use crate::fence::Fence;

/// Where the API server is.
///
/// # Errors
/// When neither a service account nor a kubeconfig is there.
pub async fn place() -> Result<Config, kube::Error> {
    let mut config = Config::infer().await.map_err(kube::Error::InferConfig)?;
    config.default_retry = false;
    Ok(config)
}

/// A client whose writes pass the fence.
///
/// # Errors
/// When the configuration's keys or certificates cannot be read.
pub fn fenced(config: Config, fence: &Fence) -> Result<Client, kube::Error> {
    Ok(ClientBuilder::try_from(config)?.with_layer(fence).build())
}
