//! What the helper says of the programs: how each stands, and what came with it.
//!
//! Only the helper makes these, so reading one trusts it: it has more rights than whoever reads. Still nothing here panics.
//!
//! Invariant: descriptors come in the order of the list: of maps first, if they are handed over, then of programs.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use serde::{Deserialize, Serialize};

use crate::kernel::loader::{MAPS, Standing};
use crate::kernel::programs::{Hook, PROGRAMS};
use crate::model::{ProbeState, ProbeStatus};
use crate::probes::blame::stats::Tells;

/// All that is known when the programs were loaded.
#[derive(Debug)]
pub struct Description {
    /// The maps, by place in [`MAPS`].
    pub maps: Vec<OwnedFd>,
    /// The programs.
    pub standing: Standing,
    /// The threads that were there before were found.
    pub found: bool,
    /// What blame can tell apart on this kernel.
    pub tells: Tells,
}

/// A description as it is sent, without its descriptors.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Sent {
    maps: usize,
    programs: Vec<Program>,
    found: bool,
    tells: [bool; 3],
}

#[derive(Debug, Serialize, Deserialize)]
struct Program {
    /// Its place in the list of programs.
    at: usize,
    hook: Hook,
    state: State,
    /// Why it is not a better one.
    fallback: Option<String>,
    /// A descriptor of it comes along.
    loaded: bool,
}

#[derive(Debug, Serialize, Deserialize)]
enum State {
    Running,
    Idle,
    Failed { reason: String, advice: String },
}

/// Why nothing was loaded, and what to do.
#[derive(Debug, Serialize, Deserialize)]
pub struct Failure {
    /// Why.
    pub message: String,
    /// What to do.
    pub advice: String,
}

impl Description {
    /// What is sent of it.
    pub fn sent(&self) -> (Vec<u8>, Vec<BorrowedFd<'_>>) {
        let tells = [self.tells.throttled, self.tells.steal, self.tells.elsewhere];
        let sent = Sent { maps: self.maps.len(), programs: programs(&self.standing), found: self.found, tells };
        let fds = self.maps.iter().chain(self.standing.programs.iter().flatten());
        (serde_json::to_vec(&sent).unwrap_or_default(), fds.map(|fd| fd.as_fd()).collect())
    }

    /// What was received as one.
    pub fn received(text: &[u8], fds: Vec<OwnedFd>) -> io::Result<Self> {
        let sent: Sent = serde_json::from_slice(text)?;
        let mut fds = fds.into_iter();
        let maps: Vec<OwnedFd> = fds.by_ref().take(sent.maps).collect();
        if maps.len() != sent.maps || sent.maps != 0 && sent.maps != MAPS.len() {
            return Err(io::Error::other("maps are missing"));
        }
        let mut standing = Standing { probes: Vec::new(), programs: Vec::new() };
        for program in sent.programs {
            let known = PROGRAMS.get(program.at).ok_or_else(|| io::Error::other("a program is not known"))?;
            let descriptor = if program.loaded { fds.next() } else { None };
            standing.probes.push(ProbeStatus {
                name: known.name,
                hook: program.hook,
                state: program.state.into(),
                fallback: program.fallback,
            });
            standing.programs.push(descriptor);
        }
        let [throttled, steal, elsewhere] = sent.tells;
        Ok(Self { maps, standing, found: sent.found, tells: Tells { throttled, steal, elsewhere } })
    }
}

fn programs(standing: &Standing) -> Vec<Program> {
    let all = standing.probes.iter().zip(&standing.programs);
    let one = |(probe, program): (&ProbeStatus, &Option<OwnedFd>)| {
        let at = PROGRAMS.iter().position(|p| p.name == probe.name)?;
        let (state, fallback) = (State::from(probe.state.clone()), probe.fallback.clone());
        Some(Program { at, hook: probe.hook, state, fallback, loaded: program.is_some() })
    };
    all.filter_map(one).collect()
}

impl From<ProbeState> for State {
    fn from(state: ProbeState) -> Self {
        match state {
            ProbeState::Running => Self::Running,
            ProbeState::Idle => Self::Idle,
            ProbeState::Failed { reason, advice } => Self::Failed { reason, advice },
        }
    }
}

impl From<State> for ProbeState {
    fn from(state: State) -> Self {
        match state {
            State::Running => Self::Running,
            State::Idle => Self::Idle,
            State::Failed { reason, advice } => Self::Failed { reason, advice },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_sent_is_received() {
        let file = || OwnedFd::from(File::open("/dev/null").unwrap());
        let failed = ProbeState::Failed { reason: "No.".into(), advice: "Do.".into() };
        let status =
            |at: usize, state| ProbeStatus { name: PROGRAMS[at].name, hook: Hook::TpBtf, state, fallback: None };
        let probes = vec![status(0, ProbeState::Running), status(3, failed), status(1, ProbeState::Idle)];
        let standing = Standing { probes: probes.clone(), programs: vec![Some(file()), None, Some(file())] };
        let tells = Tells { throttled: true, steal: false, elsewhere: true };
        let description = Description { maps: MAPS.map(|_| file()).into(), standing, found: true, tells };
        let (text, fds) = description.sent();
        let fds: Vec<OwnedFd> = fds.iter().map(|fd| fd.try_clone_to_owned().unwrap()).collect();
        assert_eq!(fds.len(), MAPS.len() + 2);
        let received = Description::received(&text, fds).unwrap();
        assert_eq!(received.standing.probes, probes);
        let loaded: Vec<bool> = received.standing.programs.iter().map(Option::is_some).collect();
        assert_eq!((loaded, received.found, received.maps.len()), (vec![true, false, true], true, MAPS.len()));
        assert!(Description::received(&text, Vec::new()).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_description_or_an_error(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Description::received(&text, Vec::new());
        }
    }
}
