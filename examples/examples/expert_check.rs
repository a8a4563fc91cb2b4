use std::time::Instant;
use reflexarc_examples::demo::{rollout, Disturbance};
fn main() {
    let n: u64 = std::env::args().nth(1).and_then(|v| v.parse().ok()).unwrap_or(20);
    let noisy: f64 = std::env::args().nth(2).and_then(|v| v.parse().ok()).unwrap_or(0.0);
    let start = Instant::now();
    let mut ok = 0; let mut frames = 0; let mut steps = std::collections::BTreeMap::new();
    for seed in 0..n {
        let every = if noisy > 0.0 { 0.1 } else { 1000.0 };
        let lifted = rollout(seed, Disturbance { pushes_per_s: noisy, random_start: if noisy > 0.0 { 0.8 } else { 0.0 } }, if noisy>0.0 {5.0} else {8.0}, every, &mut |s| { frames += 1;
            *steps.entry(format!("{:?}", s.objects[s.target].advice.map(|a| a.step))).or_insert(0) += 1; }).unwrap();
        if !lifted { println!("seed {seed} failed: {:?}", reflexarc_sim::Scene::pick(seed).target().shape); }
        ok += u64::from(lifted);
    }
    println!("{ok}/{n} lifted, {frames} frames, {:.2} s each, {steps:?}", start.elapsed().as_secs_f64() / n as f64);
}
