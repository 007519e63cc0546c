//! One process of our program. In: arguments and a kubeconfig. Out: its log, what it uses; it ends with the test.

use std::{
    env, fs,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

/// A running process of our program.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

/// What a process has used.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// Most bytes of memory so far.
    pub peak: u64,
    /// Processor time so far, its own and the kernel's for it.
    pub cpu: Duration,
}

impl Process {
    /// Starts `recmesh <words>` with a kubeconfig; its log goes to `<folder>/<name>.log`.
    pub fn start(name: &str, folder: &Path, kubeconfig: &Path, words: &[&str]) -> Self {
        let log = folder.join(format!("{name}.log"));
        let out = fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let child = Command::new(program())
            .args(words)
            .current_dir(folder)
            .env("KUBECONFIG", kubeconfig)
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .spawn()
            .unwrap();
        Self { name: name.to_owned(), child, log }
    }

    /// A port of loopback that nothing listens on now.
    pub fn free_port() -> u16 {
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
    }

    /// Whether `RECMESH_PROGRAM` names the program as users run it.
    pub fn is_shipped() -> bool {
        env::var_os("RECMESH_PROGRAM").is_some()
    }

    /// Everything it has written.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Where it writes.
    pub fn log_file(&self) -> &Path {
        &self.log
    }

    /// Asks it to end, as a kubelet does, and waits for its end.
    pub fn stop(mut self) -> ExitStatus {
        assert!(Command::new("kill").arg(self.child.id().to_string()).status().unwrap().success());
        self.child.wait().unwrap()
    }

    /// Ends it at once, in the middle of whatever it does.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Holds it where it is, as a machine that swaps or is paused would, until [`Self::resume`].
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.signal("CONT");
    }

    fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &id]).status().unwrap().success());
    }

    /// Whether it still runs; what it said where it does not.
    #[track_caller]
    pub fn assert_alive(&mut self) {
        if let Some(status) = self.child.try_wait().unwrap() {
            panic!("{} ended with {status}: {}", self.name, self.log());
        }
    }

    /// What it has used so far.
    pub fn usage(&self) -> Usage {
        Usage::of(self.child.id())
    }
}

impl Usage {
    /// What a process of this machine has used so far.
    pub fn of(process: u32) -> Self {
        let folder = PathBuf::from(format!("/proc/{process}"));
        let status = fs::read_to_string(folder.join("status")).unwrap();
        let kilobytes = |field: &str| -> u64 {
            let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
            line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().unwrap()
        };
        // After the name in parentheses: state is field 3, user and system time are fields 14 and 15, in hundredths.
        let stat = fs::read_to_string(folder.join("stat")).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        Self { peak: kilobytes("VmHWM") * 1024, cpu: Duration::from_millis(ticks * 10) }
    }
}

/// The program as users run it, where `RECMESH_PROGRAM` names one; the one built for tests otherwise.
fn program() -> PathBuf {
    env::var_os("RECMESH_PROGRAM").map_or_else(|| env!("CARGO_BIN_EXE_recmesh").into(), PathBuf::from)
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
