//! What a round of a team costs: two pieces of nothing on two threads, beside threads that are started for them. The
//! helper spins between rounds, as between two operations of a request.

use std::hint::black_box;

use anyhow::Result;
use recmesh_kernels::{Team, share};

use crate::measure::{Bench, Side};

pub fn run(bench: &mut Bench) -> Result<()> {
    let (alone, team) = (Team::new(1, &[]), Team::new(2, &[]));
    let work = |piece: usize| {
        black_box(piece);
    };
    let round = |team: &Team| -> Result<()> {
        team.pieces(2, &work);
        Ok(())
    };
    let sides = vec![
        Side::new("one thread alone", || round(&alone)),
        Side::new("a team of two", || round(&team)),
        Side::new("a thread started", || {
            share(2, vec![0, 1], work);
            Ok(())
        }),
    ];
    bench.compare("team", "round", sides)
}
