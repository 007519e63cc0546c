//! The command line: every flag with its help text. Everything else is said in manifests.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use axum::http::Uri;
use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use recmesh_contract::Millis;

/// Declare a generative recommender; get it trained and served.
#[derive(Debug, Parser)]
#[command(name = "recmesh", version, arg_required_else_help = true)]
pub struct Args {
    /// What is logged to standard error: error, warn, info, debug, trace, or `room=level,…`. RECMESH_LOG overrides it.
    #[arg(long, global = true, default_value = "warn")]
    pub log: String,
    /// How log lines are written.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// A JSON object a line.
    Json,
}

impl From<LogFormat> for recmesh_telemetry::logging::Format {
    fn from(format: LogFormat) -> Self {
        match format {
            LogFormat::Text => Self::Text,
            LogFormat::Json => Self::Json,
        }
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train what is missing, evaluate it and serve it, all in this process.
    Up(Up),
    /// Do every job of the manifests and exit.
    Train(Train),
    /// Check manifests and say everything that is wrong with them.
    Validate(Validate),
    /// Show resources and releases in the state folder.
    Get(Get),
    /// Remove artifacts that no release and no newest version needs.
    Gc(Gc),
    /// Serve the pipelines of a cluster.
    Gateway(Gateway),
    /// Reconcile the resources of a cluster.
    Operator(Operator),
    /// Serve pools to gateways over gRPC.
    Worker(Worker),
    /// Do one job of a cluster.
    Job(Job),
    /// Ask a URL once; succeed when the answer is 200.
    Probe(Probe),
    /// Print the custom resource definitions as YAML, or put them into a cluster.
    Crds(Crds),
    /// Make data sets.
    #[command(subcommand)]
    Dataset(Dataset),
}

/// Manifests and where their data and results lie.
#[derive(Debug, ClapArgs)]
pub struct Manifests {
    /// A manifest file, or `-` for standard input. May be given several times.
    #[arg(short = 'f', long = "file", required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

/// Where results are kept and data is found.
#[derive(Debug, ClapArgs)]
pub struct Place {
    /// The folder that keeps artifacts, reports and releases.
    #[arg(long, default_value = ".recmesh", value_name = "DIR")]
    pub state: PathBuf,
    /// Where a Dataset's files lie. Without it they are looked for beside the manifest. May be given several times.
    #[arg(long = "data", value_name = "NAME=PATH", value_parser = named_path)]
    pub data: Vec<(String, PathBuf)>,
    /// Threads that train and evaluate; results do not depend on it. All cores without it.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Makes a resource's artifact anew although the store holds one, sound or damaged. May be given several times.
    #[arg(long, value_name = "NAME")]
    pub retrain: Vec<String>,
}

/// `recmesh up`.
#[derive(Debug, ClapArgs)]
pub struct Up {
    #[command(flatten)]
    pub manifests: Manifests,
    #[command(flatten)]
    pub place: Place,
    /// The address to serve on; port 0 takes a free one. It is printed and written to `<state>/address`.
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDR")]
    pub listen: SocketAddr,
    /// Where the traces of requests are sent, as OTLP over gRPC: http://localhost:4317. Without it none are made.
    #[cfg(feature = "otlp")]
    #[arg(long, value_name = "URL")]
    pub otlp_endpoint: Option<String>,
}

/// `recmesh train`.
#[derive(Debug, ClapArgs)]
pub struct Train {
    #[command(flatten)]
    pub manifests: Manifests,
    #[command(flatten)]
    pub place: Place,
    /// How results are printed.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// `recmesh validate`.
#[derive(Debug, ClapArgs)]
pub struct Validate {
    #[command(flatten)]
    pub manifests: Manifests,
}

/// `recmesh get`.
#[derive(Debug, ClapArgs)]
pub struct Get {
    /// The folder that keeps artifacts, reports and releases.
    #[arg(long, default_value = ".recmesh", value_name = "DIR")]
    pub state: PathBuf,
    /// How they are printed.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// `recmesh gc`.
#[derive(Debug, ClapArgs)]
pub struct Gc {
    /// The folder that keeps artifacts, reports and releases.
    #[arg(long, default_value = ".recmesh", value_name = "DIR")]
    pub state: PathBuf,
    /// Only say what would be removed.
    #[arg(long)]
    pub dry_run: bool,
}

/// `recmesh gateway`.
#[derive(Debug, ClapArgs)]
pub struct Gateway {
    /// The address for callers.
    #[arg(long, default_value = "0.0.0.0:8080", value_name = "ADDR")]
    pub listen: SocketAddr,
    /// The address for the cluster: probes, metrics and routes.
    #[arg(long, default_value = "0.0.0.0:8081", value_name = "ADDR")]
    pub admin: SocketAddr,
    /// A namespace whose pipelines are served. May be given several times; without it all namespaces are.
    #[arg(long = "namespace", value_name = "NS")]
    pub namespaces: Vec<String>,
    /// The namespace of pipelines that requests name without one.
    #[arg(long, default_value = "default", value_name = "NS")]
    pub default_namespace: String,
    /// How long to serve on after being asked to stop, so that whoever balances over gateways can learn of it.
    #[arg(long, default_value = "5s", value_name = "TIME", value_parser = span)]
    pub notice: Duration,
}

/// `recmesh operator`.
#[derive(Debug, ClapArgs)]
pub struct Operator {
    /// The settings, as YAML.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// The address for the cluster: probes and metrics.
    #[arg(long, default_value = "0.0.0.0:8081", value_name = "ADDR")]
    pub admin: SocketAddr,
    /// This replica's name, which no other process has; the host's name and a random number without it.
    #[arg(long, value_name = "NAME")]
    pub identity: Option<String>,
}

/// `recmesh crds`.
#[derive(Debug, ClapArgs)]
pub struct Crds {
    /// Apply them to the cluster of this pod or of KUBECONFIG, server-side, and wait until each is established.
    #[arg(long)]
    pub apply: bool,
    /// Delete them from the cluster, and with them every resource of their kinds, and wait until they are gone.
    #[arg(long, conflicts_with = "apply")]
    pub delete: bool,
    /// How long that may take.
    #[arg(long, default_value = "1m", value_name = "TIME", value_parser = span)]
    pub timeout: Duration,
}

/// Where the artifacts of a cluster are.
#[derive(Debug, ClapArgs)]
pub struct Artifacts {
    /// A folder, which workers only read, or s3://bucket/prefix, gs://bucket/prefix, file:///folder.
    #[arg(long, value_name = "PLACE")]
    pub store: PathBuf,
    /// The folder that keeps what is fetched, when artifacts are in an object store.
    #[arg(long, default_value = "/store", value_name = "DIR")]
    pub cache: PathBuf,
}

/// `recmesh worker`.
#[derive(Debug, ClapArgs)]
pub struct Worker {
    /// The pools to run, as JSON; looked at every second and followed when it changes.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    #[command(flatten)]
    pub artifacts: Artifacts,
    /// The address for gateways.
    #[arg(long, default_value = "0.0.0.0:9000", value_name = "ADDR")]
    pub listen: SocketAddr,
    /// The address for the cluster: probes and metrics.
    #[arg(long, default_value = "0.0.0.0:8081", value_name = "ADDR")]
    pub admin: SocketAddr,
    /// How long to serve on after being asked to stop, so that whoever balances over workers can learn of it.
    #[arg(long, default_value = "5s", value_name = "TIME", value_parser = span)]
    pub notice: Duration,
}

/// `recmesh job`.
#[derive(Debug, ClapArgs)]
pub struct Job {
    /// What to do, as JSON.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    #[command(flatten)]
    pub artifacts: Artifacts,
    /// The folder of checkpoints; without it they are kept in the store's folder or cache.
    #[arg(long, value_name = "DIR")]
    pub checkpoints: Option<PathBuf>,
    /// The address for the cluster: the report, probes and metrics.
    #[arg(long, default_value = "0.0.0.0:8081", value_name = "ADDR")]
    pub listen: SocketAddr,
    /// Where the last report goes. Without it, to /dev/termination-log where there is one.
    #[arg(long, value_name = "FILE")]
    pub termination_message: Option<PathBuf>,
    /// Threads to compute with; results do not depend on it. All cores without it.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
}

/// `recmesh probe`.
#[derive(Debug, ClapArgs)]
pub struct Probe {
    /// http://host:port/path
    #[arg(value_name = "URL")]
    pub url: Uri,
}

/// `recmesh dataset`.
#[derive(Debug, Subcommand)]
pub enum Dataset {
    /// Write a planted world as files, with a manifest that reads them.
    Generate(Generate),
}

/// `recmesh dataset generate`.
#[derive(Debug, ClapArgs)]
pub struct Generate {
    /// Manifests with the Dataset.
    #[command(flatten)]
    pub manifests: Manifests,
    /// Which Dataset; may be left out when there is one.
    #[arg(long)]
    pub name: Option<String>,
    /// The folder to write to.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// How the files are written.
    #[arg(long, value_enum, default_value_t = FileFormat::Csv)]
    pub format: FileFormat,
}

/// How generated files are written.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum FileFormat {
    /// Comma-separated, with a header.
    Csv,
    /// A JSON object a line.
    Jsonl,
    /// RecBole atomic files.
    Recbole,
}

impl From<FileFormat> for recmesh_data::planted::FileFormat {
    fn from(format: FileFormat) -> Self {
        match format {
            FileFormat::Csv => Self::Csv,
            FileFormat::Jsonl => Self::JsonLines,
            FileFormat::Recbole => Self::RecBole,
        }
    }
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}

fn span(text: &str) -> Result<Duration, String> {
    Millis::try_from(text.to_owned()).map(Millis::duration).map_err(|error| error.to_string())
}

fn named_path(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, path)) if !name.is_empty() && !path.is_empty() => Ok((name.to_owned(), PathBuf::from(path))),
        _ => Err("write NAME=PATH, the Dataset's name and the folder (or file) that holds its files".to_owned()),
    }
}
