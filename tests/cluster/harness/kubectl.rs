//! kubectl, in the cluster's minor version and in the one before. In: arguments. Out: what it said.

use std::{
    io::Write,
    path::PathBuf,
    process::{Command, Stdio},
};

use super::{Cluster, Told};

/// One kubectl with the rights of one kubeconfig.
#[derive(Clone, Debug)]
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
    namespace: Option<String>,
}

impl Kubectl {
    /// The cluster's own minor version, with all rights.
    pub fn current() -> Self {
        Self { program: Cluster::program("kubectl"), kubeconfig: Cluster::kubeconfig(), namespace: None }
    }

    /// The minor version before, with all rights.
    pub fn previous() -> Self {
        Self { program: Cluster::program("kubectl-previous"), ..Self::current() }
    }

    /// The same in a namespace.
    pub fn within(mut self, namespace: &str) -> Self {
        self.namespace = Some(namespace.to_owned());
        self
    }

    /// The command, for callers that start it themselves.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        // Discovery is kept in the home folder by server address; another cluster may have had this one's.
        command.arg("--kubeconfig").arg(&self.kubeconfig).arg("--cache-dir").arg(Cluster::logs().join("discovery"));
        if let Some(namespace) = &self.namespace {
            command.args(["--namespace", namespace]);
        }
        command.args(words);
        command
    }

    /// Runs it to its end.
    pub fn run(&self, words: &[&str]) -> Told {
        self.command(words).stdin(Stdio::null()).output().unwrap().into()
    }

    /// Runs it with text on its standard input; `-f -` reads that.
    pub fn feed(&self, words: &[&str], text: &str) -> Told {
        let mut child =
            self.command(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // It may refuse before it has read everything; its exit code tells.
        let _ = child.stdin.take().unwrap().write_all(text.as_bytes());
        child.wait_with_output().unwrap().into()
    }
}
