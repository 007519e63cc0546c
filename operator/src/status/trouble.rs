//! What is wrong with pods and what to do about it.
//!
//! In: pods as the kubelet and the scheduler tell of them. Out: the cause in their words and the remedy in ours. Pods
//! that are fine, starting or stopping are no trouble.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod};
use recmesh_contract::config::PodParams;

use crate::{here::name_of, reason, terms::Trouble};

/// Exit code of a process killed by SIGKILL.
const KILLED: i32 = 137;

/// The worst trouble of some pods, if there is any: of several the first by name.
#[must_use]
pub fn of_pods<'a>(pods: impl IntoIterator<Item = &'a Arc<Pod>>, asked: &PodParams) -> Option<Trouble> {
    pods.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).find_map(|pod| of_pod(pod, asked))
}

/// The trouble of a pod.
#[must_use]
pub fn of_pod(pod: &Pod, asked: &PodParams) -> Option<Trouble> {
    let name = name_of(pod);
    let status = pod.status.as_ref()?;
    if status.reason.as_deref() == Some("Evicted") {
        let why = status.message.as_deref().unwrap_or("its node had too little of something");
        let message = format!("pod {name} was evicted: {why}: raise spec.pod.requests to what it uses");
        return Some(Trouble { reason: reason::EVICTED, message });
    }
    let unschedulable =
        status.conditions.iter().flatten().find(|it| {
            it.type_ == "PodScheduled" && it.status == "False" && it.reason.as_deref() == Some("Unschedulable")
        });
    if let Some(condition) = unschedulable {
        let why = condition.message.as_deref().unwrap_or("no node takes it").trim_end_matches('.');
        let fix = if why.contains("persistentvolumeclaim") {
            "make the claim in this namespace, or name another in the Helm values"
        } else {
            "lower spec.pod.requests, change spec.pod.nodeSelector or tolerations, or add nodes"
        };
        return Some(Trouble { reason: reason::UNSCHEDULABLE, message: format!("pod {name}: {why}: {fix}") });
    }
    status.container_statuses.iter().flatten().find_map(|container| of_container(name, container, asked))
}

fn of_container(pod: &str, status: &ContainerStatus, asked: &PodParams) -> Option<Trouble> {
    let waiting = status.state.as_ref().and_then(|state| state.waiting.as_ref());
    let ended = [&status.state, &status.last_state].into_iter().flatten().find_map(|state| state.terminated.as_ref());
    if let Some(ended) = ended.filter(|ended| ran_out(ended)) {
        return Some(out_of_memory(pod, ended, asked));
    }
    let waiting = waiting?;
    let why = waiting.message.as_deref().unwrap_or_default().trim_end_matches('.');
    let trouble = |reason, text: String| Some(Trouble { reason, message: text });
    match waiting.reason.as_deref()? {
        "ImagePullBackOff" | "ErrImagePull" | "InvalidImageName" | "ErrImageNeverPull" | "RegistryUnavailable" => {
            let image = &status.image;
            let fix = "check image and imagePullSecrets in the Helm values, and that the node reaches the registry";
            trouble(reason::IMAGE_PULL, format!("pod {pod} cannot pull {image}: {why}: {fix}"))
        }
        "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => {
            let fix =
                "check that the Secret of store.secretRef and the claims of the Helm values are in this namespace";
            trouble(reason::CONTAINER_CONFIG, format!("pod {pod} cannot start: {why}: {fix}"))
        }
        "CrashLoopBackOff" => {
            let last = ended.map(|ended| last_words(ended, pod)).unwrap_or_else(|| why.to_owned());
            let fix = format!("its log tells more: kubectl logs {pod} --previous");
            trouble(reason::CRASH_LOOP, format!("pod {pod} ends again and again: {last}: {fix}"))
        }
        _ => None,
    }
}

fn ran_out(ended: &ContainerStateTerminated) -> bool {
    ended.reason.as_deref() == Some("OOMKilled")
}

fn out_of_memory(pod: &str, _: &ContainerStateTerminated, asked: &PodParams) -> Trouble {
    let fix = match &asked.limits.memory {
        Some(limit) => format!("raise spec.pod.limits.memory, now {}", limit.0),
        None => "set spec.pod.requests.memory to what it needs, or use nodes with more memory".to_owned(),
    };
    Trouble { reason: reason::OUT_OF_MEMORY, message: format!("pod {pod} was killed for its memory: {fix}") }
}

/// What a container that has ended left to say.
#[must_use]
pub fn last_words(ended: &ContainerStateTerminated, pod: &str) -> String {
    let said = ended.message.as_deref().map(str::trim).filter(|message| !message.is_empty());
    match said {
        // A report of a job, which whoever knows jobs reads.
        Some(message) if !message.starts_with('{') => {
            message.lines().last().unwrap_or(message).chars().take(512).collect()
        }
        _ if ended.exit_code == KILLED => format!("pod {pod} was killed"),
        _ => format!("pod {pod} ended with exit code {}", ended.exit_code),
    }
}
