//! Weights in signed bytes that were kept come back as they went, or are refused.

use super::*;
use crate::{Init, Params, Role};

const COLS: usize = 40;
const WIDTH: usize = 70;

#[test]
fn weights_come_back_as_they_were_kept_or_not_at_all() {
    let mut params = Params::default();
    let up = params.add("up", Role::Matrix, 2 * WIDTH, COLS, Init::Normal(0.3), 5);
    let data = &params.get(up).data;
    for (scaling, scales) in [(Scaling::Rows, 2 * WIDTH), (Scaling::Tensor, 1)] {
        let weights = Weights::new(scaling, data, 2 * WIDTH, COLS);
        assert_eq!(weights.scales().len(), scales);
        assert!(weights.codes().contains(&127) || weights.codes().contains(&-127));
        let back = |codes: &[i8], scales: &[f32]| {
            Weights::from_parts(scaling, (2 * WIDTH, COLS), codes.to_vec(), scales.to_vec())
        };
        let (codes, scales) = (weights.codes().to_vec(), weights.scales().to_vec());
        assert_eq!(back(&codes, &scales), Some(weights.clone()));
        assert_eq!((back(&codes[1..], &scales), back(&codes, &scales[1..])), (None, None));
        for bad in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            assert_eq!(back(&codes, &[&[bad], &scales[1..]].concat()), None);
        }
        assert_eq!(back(&[&[-128], &codes[1..]].concat(), &scales), None);
        for ((&w, &code), at) in data.iter().zip(&codes).zip(0..) {
            let scale = scales[if scales.len() == 1 { 0 } else { at / COLS }];
            assert!((w - f32::from(code) * scale).abs() <= scale * 0.5001, "{at}");
        }
    }
    let odd = Weights::new(Scaling::Rows, &[1.0, f32::NAN, 0.0, 0.0, f32::INFINITY, 1.0], 3, 2);
    assert_eq!((odd.scales()[0].is_nan(), odd.scales()[1] > 0.0, odd.scales()[2].is_nan()), (true, true, true));
    assert_eq!(odd.codes()[2..4], [0, 0]);
}
