use dmp_math::diffusion::Diffusion;
use dmp_math::schedule::BetaSchedule;
use dmp_math::timesteps::Timesteps;

use super::*;

fn plan(batch: usize) -> DrawPlan {
    DrawPlan {
        seed: 3,
        batch,
        timesteps: Timesteps::Uniform.over(&Diffusion::new(BetaSchedule::Linear, 1000)),
        flip: true,
        label_dropout: Some((0.5, 9)),
        labelled: true,
        gate: Some((2, 3)),
        targets: None,
    }
}

fn data() -> Dataset {
    let shape = crate::data::ImageShape {
        channels: 1,
        height: 2,
        width: 2,
    };
    Dataset::new(
        (0..40).collect(),
        (0..10).map(|i| i % 4).collect(),
        shape,
        4,
    )
    .unwrap()
}

/// Eight draws in one batch or in two: every image, noise, step and label is the same.
#[test]
fn an_images_draw_does_not_depend_on_the_batch_size() {
    let mut large = Prefetch::start(plan(8), data(), 0..1).unwrap();
    let mut small = Prefetch::start(plan(4), data(), 0..2).unwrap();
    let (all, first, second) = (
        large.next().unwrap(),
        small.next().unwrap(),
        small.next().unwrap(),
    );
    assert_eq!(
        all.images,
        [first.images.clone(), second.images.clone()].concat()
    );
    assert_eq!(
        all.noise,
        [first.noise.clone(), second.noise.clone()].concat()
    );
    assert_eq!(
        all.steps,
        [first.steps.clone(), second.steps.clone()].concat()
    );
    assert_eq!(
        all.labels,
        [first.labels.clone(), second.labels.clone()].concat()
    );
    let gate = |batch: &HostBatch, block: usize| {
        let (values, [_, count, prompts]) = batch.gate_noise.clone().unwrap();
        values[block * count * prompts..][..count * prompts].to_vec()
    };
    assert_eq!(gate(&all, 1), [gate(&first, 1), gate(&second, 1)].concat());
}

/// A batch of eight in parts of three: the same images, noise and gate noise as drawn in smaller batches.
#[test]
fn parts_are_what_smaller_batches_draw() {
    let batch =
        |size: usize, steps: Range<u64>| Prefetch::start(plan(size), data(), steps).unwrap();
    let whole = batch(8, 0..1).next().unwrap();
    assert_eq!(whole.split(2), batch(4, 0..2).collect::<Vec<_>>());
    assert_eq!(whole.split(9), batch(1, 0..8).collect::<Vec<_>>());
    let uneven: Vec<usize> = whole.split(3).iter().map(HostBatch::len).collect();
    assert_eq!(uneven, [3, 3, 2]);
}

#[test]
fn a_resumed_run_draws_what_an_uninterrupted_one_would() {
    let whole: Vec<HostBatch> = Prefetch::start(plan(4), data(), 0..6).unwrap().collect();
    let resumed: Vec<HostBatch> = Prefetch::start(plan(4), data(), 3..6).unwrap().collect();
    assert_eq!(whole[3..], resumed);
    let labels: Vec<usize> = whole
        .iter()
        .flat_map(|batch| batch.labels.clone())
        .collect();
    assert!(
        labels.contains(&9) && labels.iter().any(|&label| label < 4),
        "{labels:?}"
    );
}
