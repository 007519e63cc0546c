//! scratch
use recmesh_kernels::*;
struct Instant(u64);
fn cpu() -> u64 {
    std::fs::read_to_string("/proc/thread-self/schedstat").unwrap().split(' ').next().unwrap().parse().unwrap()
}
impl Instant {
    fn now() -> Self {
        Self(cpu())
    }
    fn elapsed(&self) -> std::time::Duration {
        std::time::Duration::from_nanos(cpu() - self.0)
    }
}
#[test]
#[ignore]
fn speed() {
    let (seqs, len, d, classes) =
        (16u32, 50u32, 64usize, std::env::var("CLASSES").ok().and_then(|c| c.parse().ok()).unwrap_or(12000usize));
    let mut p = Params::default();
    let items = p.add("items", Role::Embedding, classes, d, Init::Normal(0.02), 1);
    let pos = p.add("pos", Role::Embedding, 50, d, Init::Normal(0.02), 1);
    let mut blocks = vec![];
    for b in 0..2 {
        let mut m = |n: &str, r, c, i| p.add(&format!("{b}.{n}"), Role::Matrix, r, c, i, 1);
        let n = Init::Normal(0.05);
        blocks.push([
            m("g1", 1, d, Init::Ones),
            m("b1", 1, d, Init::Zeros),
            m("q", d, d, n),
            m("k", d, d, n),
            m("v", d, d, n),
            m("o", d, d, n),
            m("g2", 1, d, Init::Ones),
            m("b2", 1, d, Init::Zeros),
            m("w1", d, d, n),
            m("c1", 1, d, Init::Zeros),
            m("w2", d, d, n),
            m("c2", 1, d, Init::Zeros),
        ]);
    }
    let g = p.add("g", Role::Vector, 1, d, Init::Ones, 1);
    let bb = p.add("b", Role::Vector, 1, d, Init::Zeros, 1);
    let n = seqs * len;
    let ids: Vec<u32> = (0..n).map(|i| (i * 7919) % classes as u32).collect();
    let targets: Vec<u32> = (0..n).map(|i| (i * 104729) % classes as u32).collect();
    let poss: Vec<u32> = (0..n).map(|i| i % len).collect();
    let spans: Vec<Span> = (0..n).map(|i| Span { start: i / len * len, end: i + 1 }).collect();
    let mut ws = Workspace::default();
    let mut grads = Grads::zeros(&p);
    let run = |ws: &mut Workspace, grads: &mut Grads, full: bool, train: bool| {
        let mut t = if train { Tape::train(&p, ws, 3) } else { Tape::serve(&p, ws) };
        let x = t.embed(items, &ids);
        let q = t.embed(pos, &poss);
        let mut x = t.add(x, q);
        x = t.dropout(x, 0.2);
        for w in &blocks {
            let y = t.layer_norm(x, w[0], w[1]);
            let (q, k, v) = (t.linear(y, w[2], None), t.linear(x, w[3], None), t.linear(x, w[4], None));
            let a = t.attention(q, k, v, Attention { heads: 2, groups: 2, spans: &spans, bias: None });
            let a = t.linear(a, w[5], None);
            let a = t.dropout(a, 0.2);
            x = t.add(x, a);
            let y = t.layer_norm(x, w[6], w[7]);
            let h = t.linear(y, w[8], Some(w[9]));
            let h = t.activate(h, Activation::Relu);
            let h = t.linear(h, w[10], Some(w[11]));
            let h = t.dropout(h, 0.2);
            x = t.add(x, h);
        }
        let x = t.layer_norm(x, g, bb);
        let l = if full {
            t.softmax_loss(x, items, 0..classes, &targets, None)
        } else {
            t.sampled_softmax_loss(x, items, &targets, &ids[..64], None)
        };
        if train {
            t.backward(&[(l, 1.0 / n as f32)], grads);
        }
        std::hint::black_box(t.value(l)[0]);
    };
    for (name, full, train) in [
        ("full train", true, true),
        ("full eval", true, false),
        ("sampled64 train", false, true),
        ("sampled64 serve", false, false),
    ] {
        let mut best = f64::MAX;
        for _ in 0..15 {
            grads.clear();
            let t0 = Instant::now();
            run(&mut ws, &mut grads, full, train);
            best = best.min(t0.elapsed().as_secs_f64());
        }
        println!("{name}: {:.2} ms", best * 1e3);
    }
    let mut best = f64::MAX;
    let flops = 2.0 * n as f64 * classes as f64 * d as f64;
    let x: Vec<f32> = (0..n as usize * d).map(|i| (i as f32).sin()).collect();
    let w = p.get(items).data.clone();
    let mut out = vec![0.0; n as usize * classes];
    for _ in 0..10 {
        let t0 = Instant::now();
        linalg::gemm(
            &mut out,
            linalg::Output::Write,
            1.0,
            linalg::View::new(&x, n as usize, d),
            linalg::View::new(&w, classes, d).t(),
        );
        best = best.min(t0.elapsed().as_secs_f64());
    }
    println!("one logits gemm {:.2} ms, {:.1} GF/s", best * 1e3, flops / best / 1e9);
    let k = 512;
    let (a, b, mut c) = (vec![0.5; k * k], vec![0.5; k * k], vec![0.0; k * k]);
    let mut best = f64::MAX;
    for _ in 0..10 {
        let t0 = Instant::now();
        linalg::gemm(&mut c, linalg::Output::Write, 1.0, linalg::View::new(&a, k, k), linalg::View::new(&b, k, k).t());
        best = best.min(t0.elapsed().as_secs_f64());
    }
    println!("512^3 gemm {:.1} GF/s", 2.0 * (k * k * k) as f64 / best / 1e9);
    // attention beams
    let (beams, ctx, h, wd) = (512usize, 1000usize, 8usize, 64usize);
    let mut ws = Workspace::default();
    let q: Vec<f32> = (0..beams * h * wd).map(|i| (i as f32).sin()).collect();
    let kv: Vec<f32> = (0..ctx * h * wd).map(|i| (i as f32 * 0.3).sin()).collect();
    let sp = vec![Span { start: 0, end: ctx as u32 }; beams];
    for level in Level::all() {
        ws = {
            let _ = &ws;
            Workspace::with_level(level)
        };
        let mut best = f64::MAX;
        for _ in 0..5 {
            let mut t = Tape::serve(&p, &mut ws);
            let (q, k) = (t.constant(beams, h * wd, &q), t.constant(ctx, h * wd, &kv));
            let t0 = Instant::now();
            let y = t.attention(q, k, k, Attention { heads: h, groups: h, spans: &sp, bias: None });
            best = best.min(t0.elapsed().as_secs_f64());
            std::hint::black_box(t.value(y)[0]);
        }
        println!(
            "beam attention {level:?} {:.2} ms {:.1} GF/s",
            best * 1e3,
            4.0 * (beams * ctx * h * wd) as f64 / best / 1e9
        );
    }
}
