//! Multi-gate mixture of experts (Ma et al., KDD 2018, doi 10.1145/3219819.3220007, §4.2).
//!
//! ```text
//! x ─► expert_e = relu(W_e x + b_e)         shared
//!   └► gate_t   = softmax(G_t x + c_t)      a task each
//! Σ_e gate_t[e] · expert_e ─► tower_t = relu ─► logit_t
//! ```
//!
//! In: the input in one or more parts. Out: a logit column a task. The first layer is linear, so each part has its own
//! weights: a part that many rows share is multiplied once and its product repeated, which changes nothing else.

use recmesh_contract::config::Mmoe;
use recmesh_kernels::{Activation, ParamId, Tape, Var};

use super::saved::Builder;
use crate::ModelError;

/// One part of the input.
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    /// Its rows.
    pub value: Var,
    /// Which of its rows each input row has; `None` when they are the same.
    pub rows: Option<&'a [u32]>,
}

/// Values of a pass by task, in memory that the next pass uses again.
#[derive(Default)]
pub(super) struct Columns {
    /// One softmax over experts a task.
    pub gates: Vec<Var>,
    /// One logit column a task.
    pub logits: Vec<Var>,
}

/// A linear map over parts.
#[derive(Clone)]
struct Split {
    weights: Vec<ParamId>,
    bias: ParamId,
}

#[derive(Clone)]
struct Tower {
    hidden: (ParamId, ParamId),
    logit: (ParamId, ParamId),
}

/// The experts, gates and towers.
#[derive(Clone)]
pub(super) struct Mixture {
    experts: Split,
    gates: Split,
    towers: Vec<Tower>,
    count: usize,
    dropout: f32,
}

impl Split {
    fn new(
        builder: &mut Builder,
        name: &str,
        out: usize,
        parts: &[(&str, usize)],
        gain: f32,
    ) -> Result<Self, ModelError> {
        let fan = parts.iter().map(|(_, columns)| columns).sum();
        let weights = parts
            .iter()
            .map(|(part, columns)| builder.matrix(&format!("{name}.{part}"), out, *columns, fan, gain))
            .collect::<Result<_, _>>()?;
        Ok(Self { weights, bias: builder.bias(&format!("{name}.bias"), out)? })
    }

    fn forward(&self, tape: &mut Tape<'_>, parts: &[Part<'_>]) -> Var {
        let mut bias = Some(self.bias);
        let mut sum = None;
        for (part, &weight) in parts.iter().zip(&self.weights) {
            sum = Some(match (part.rows, sum) {
                (None, None) => tape.linear(part.value, weight, bias.take()),
                (None, Some(before)) => tape.linear_added(part.value, weight, bias.take(), 0.0, before),
                (Some(rows), before) => {
                    let product = tape.linear(part.value, weight, bias.take());
                    let product = tape.gather(product, rows);
                    before.map_or(product, |before| tape.add(before, product))
                }
            });
        }
        // Both front ends have parts; the constant is only for the type.
        sum.unwrap_or_else(|| tape.constant(0, 0, &[]))
    }
}

impl Mixture {
    /// Takes its weights; `parts` names the input's parts and their columns.
    pub(super) fn new(
        builder: &mut Builder,
        mmoe: &Mmoe,
        tasks: usize,
        parts: &[(&str, usize)],
    ) -> Result<Self, ModelError> {
        let (count, width, tower) = (mmoe.experts as usize, mmoe.expert_units as usize, mmoe.tower_units as usize);
        for (field, value) in [("mmoe.experts", count), ("mmoe.expertUnits", width), ("mmoe.towerUnits", tower)] {
            if value == 0 {
                return Err(ModelError::parameter(field, "0 leaves nothing to compute with; give at least 1"));
            }
        }
        let experts = Split::new(builder, "experts", count * width, parts, 2.0)?;
        let gates = Split::new(builder, "gates", tasks * count, parts, 1.0)?;
        let towers = (0..tasks)
            .map(|t| {
                let hidden = builder.matrix(&format!("towers.{t}.hidden"), tower, width, width, 2.0)?;
                let hidden = (hidden, builder.bias(&format!("towers.{t}.hidden.bias"), tower)?);
                let logit = builder.matrix(&format!("towers.{t}.logit"), 1, tower, tower, 1.0)?;
                Ok(Tower { hidden, logit: (logit, builder.bias(&format!("towers.{t}.logit.bias"), 1)?) })
            })
            .collect::<Result<_, ModelError>>()?;
        Ok(Self { experts, gates, towers, count, dropout: mmoe.dropout as f32 })
    }

    /// Experts and the hidden layers of towers; gates and logits decide ranks directly.
    pub(super) fn linear_layers(&self) -> impl Iterator<Item = ParamId> {
        self.experts.weights.iter().copied().chain(self.towers.iter().map(|tower| tower.hidden.0))
    }

    /// All linear maps, as serving packs them.
    pub(super) fn maps(&self) -> impl Iterator<Item = ParamId> {
        let towers = self.towers.iter().flat_map(|tower| [tower.hidden.0, tower.logit.0]);
        self.experts.weights.iter().chain(&self.gates.weights).copied().chain(towers)
    }

    /// Computes gates and logits; what `columns` held before is forgotten.
    pub(super) fn logits(&self, tape: &mut Tape<'_>, parts: &[Part<'_>], columns: &mut Columns) {
        let experts = self.experts.forward(tape, parts);
        let experts = tape.activate(experts, Activation::Relu);
        let experts = tape.dropout(experts, self.dropout);
        let Columns { gates, logits } = columns;
        self.gate_weights(tape, parts, gates);
        logits.clear();
        logits.extend(self.towers.iter().zip(gates).map(|(tower, gate)| {
            let mixed = tape.mix(*gate, experts);
            let hidden = tape.linear_activated(mixed, tower.hidden.0, Some(tower.hidden.1), Activation::Relu);
            let hidden = tape.dropout(hidden, self.dropout);
            tape.linear(hidden, tower.logit.0, Some(tower.logit.1))
        }));
    }

    /// One softmax over experts a task, in place of what `gates` held.
    pub(super) fn gate_weights(&self, tape: &mut Tape<'_>, parts: &[Part<'_>], gates: &mut Vec<Var>) {
        let scores = self.gates.forward(tape, parts);
        gates.clear();
        gates.extend((0..self.towers.len()).map(|t| {
            let own = tape.columns(scores, t * self.count..(t + 1) * self.count);
            tape.softmax(own)
        }));
    }
}

/// Row-major `rows × tasks` probabilities of logit columns.
pub(super) fn probabilities(tape: &mut Tape<'_>, logits: &[Var]) -> Var {
    let all = tape.concat(logits);
    tape.activate(all, Activation::Sigmoid)
}
