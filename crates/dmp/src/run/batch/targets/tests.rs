use dmp_math::schedule::BetaSchedule;
use dmp_math::timesteps::Timesteps;

use super::*;
use crate::data::{ImageShape, Latents};
use crate::run::{DrawPlan, HostBatch, Prefetch};

const SHAPE: ImageShape = ImageShape {
    channels: 1,
    height: 2,
    width: 2,
};
const NULL: usize = 2;

fn diffusion() -> Diffusion {
    Diffusion::new(BetaSchedule::Linear, 1000)
}

/// Twelve images, of two classes in turn.
fn data() -> Dataset {
    let pixels = (0..48u32).map(|i| (i * 89 % 256) as u8).collect();
    let labels = (0..12).map(|i| i % 2).collect();
    Dataset::new(pixels, labels, SHAPE, 2).unwrap()
}

fn plan(images: usize, flip: bool) -> DrawPlan {
    DrawPlan {
        seed: 5,
        batch: 24,
        timesteps: Timesteps::Uniform.over(&diffusion()),
        flip,
        label_dropout: Some((0.3, NULL)),
        labelled: true,
        gate: None,
        targets: TargetPlan::of(Some(images), &diffusion()),
    }
}

fn first(plan: DrawPlan, data: Dataset) -> HostBatch {
    Prefetch::start(plan, data, 0..1).unwrap().next().unwrap()
}

/// By the definition, in f64: the mean noise over every image of a class, or over all where the label was dropped, as it is and
/// mirrored.
fn by_definition(batch: &HostBatch, place: usize, data: &Dataset, flips: bool) -> Vec<f64> {
    let step = batch.steps()[place];
    let diffusion = diffusion();
    let signal = diffusion.sqrt_alphas_cumprod()[step];
    let spread = diffusion.sqrt_one_minus_alphas_cumprod()[step];
    let of = |values: &[f32]| -> Vec<f64> {
        let row = &values[place * 4..][..4];
        row.iter().map(|&value| f64::from(value)).collect()
    };
    let noisy: Vec<f64> = (of(&batch.images).iter().zip(of(&batch.noise)))
        .map(|(x, e)| signal * x + spread * e)
        .collect();
    let mut rows = Vec::new();
    for index in 0..data.len() {
        let label = batch.labels[place];
        if label != NULL && data.labels()[index] as usize != label {
            continue;
        }
        let pixels = data.pixels(index).unwrap();
        for order in [[0, 1, 2, 3], [1, 0, 3, 2]]
            .iter()
            .take(1 + usize::from(flips))
        {
            let away = |i: usize| {
                let clean = f64::from(pixels[order[i]]) / 127.5 - 1.0;
                (noisy[i] - signal * clean) / spread
            };
            rows.push([away(0), away(1), away(2), away(3)]);
        }
    }
    let logs = rows
        .iter()
        .map(|row| -0.5 * row.iter().map(|x| x * x).sum::<f64>());
    let logs: Vec<f64> = logs.collect();
    let highest = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = logs.iter().map(|log| (log - highest).exp()).collect();
    let sum: f64 = weights.iter().sum();
    (0..4)
        .map(|i| {
            let terms = rows.iter().zip(&weights);
            terms.map(|(row, weight)| row[i] * weight).sum::<f64>() / sum
        })
        .collect()
}

#[test]
fn over_all_images_it_is_the_mean_that_the_definition_says() {
    for flips in [false, true] {
        let batch = first(plan(1000, flips), data());
        let target = batch.target.as_ref().unwrap();
        assert!(batch.labels.contains(&NULL) && batch.labels.contains(&0));
        for place in 0..batch.len() {
            let wanted = by_definition(&batch, place, &data(), flips);
            for (target, wanted) in target[place * 4..][..4].iter().zip(wanted) {
                let off = (f64::from(*target) - wanted).abs();
                assert!(off < 1e-4 * (1.0 + wanted.abs()), "{target} for {wanted}");
            }
        }
    }
}

#[test]
fn every_set_has_each_other_image_as_often() {
    let data = data();
    let population = Population::of(&data, true, false);
    let mut counts = [0; 12];
    for draw in 0..6000 {
        let drawn = Drawn {
            draw,
            index: 4,
            flip: false,
            label: 0,
            step: 0,
            image: &[0.0; 4],
            noise: &[0.0; 4],
        };
        let members = population.with(0);
        let others = members.others(&drawn, 3, 7);
        assert!(others.len() == 2 && others[0] != others[1]);
        for other in others {
            counts[members.place(other)] += 1;
        }
    }
    for (index, count) in counts.into_iter().enumerate() {
        let others = index % 2 == 0 && index != 4;
        // 2 of 5 others each time: 2400 ± 38.
        let wanted = if others { 2200..2600 } else { 0..1 };
        assert!(wanted.contains(&count), "{index}: {count}");
    }
}

/// As they are where the images are too many to be kept.
#[test]
fn what_is_kept_ready_is_what_would_be_made() {
    for flips in [false, true] {
        let kept = Population::of(&data(), true, flips);
        let members = kept.with(1);
        let others: Vec<usize> = (0..members.len()).rev().collect();
        let mut made = vec![0.0; others.len() * 4];
        let none = |_| stream(0, Purpose::ReferenceLatent, 0);
        members.fill(&others, &data(), none, &mut made);
        let ready = kept.ready.as_ref().unwrap();
        for (made, &other) in made.chunks_exact(4).zip(&others) {
            assert_eq!(made, &ready[members.place(other) * 4..][..4]);
        }
    }
}

#[test]
fn targets_do_not_depend_on_the_batch_size_and_are_split_with_their_images() {
    for images in [4, 1000] {
        let large = first(plan(images, true), data());
        let small = DrawPlan {
            batch: 8,
            ..plan(images, true)
        };
        let small: Vec<HostBatch> = Prefetch::start(small, data(), 0..3).unwrap().collect();
        for (part, drawn) in large.split(3).into_iter().zip(small) {
            assert_eq!(part.steps(), drawn.steps());
            let off = (part.target.unwrap().iter())
                .zip(drawn.target.unwrap())
                .map(|(a, b)| (a - b).abs())
                .fold(0.0, f32::max);
            // The members of a set come in another order.
            assert!(off < 1e-5, "{images}: off by {off}");
        }
    }
}

#[test]
fn latents_of_references_are_drawn_as_well() {
    let mean: Vec<f32> = (0..96).map(|i| (i * 37 % 96) as f32 / 48.0 - 1.0).collect();
    let latents = Latents {
        std: vec![0.1; 96],
        mean,
    };
    let labels = (0..12).map(|i| i % 2).collect();
    let data = Dataset::of_latents(latents, labels, SHAPE, 2).unwrap();
    let batch = first(plan(1000, true), data.clone());
    assert_ne!(batch.target, Some(batch.noise.clone()));
    assert_eq!(batch, first(plan(1000, true), data.clone()));
    assert!(Population::of(&data, true, true).ready.is_none());
}

#[test]
fn of_one_image_the_target_is_its_noise() {
    let batch = first(plan(1, true), data());
    assert_eq!(batch.target.as_ref(), Some(&batch.noise));
}

#[test]
fn more_images_than_memory_holds_are_refused() {
    let shape = ImageShape {
        channels: 1,
        height: 1 << 10,
        width: 1 << 11,
    };
    let data = Dataset::new(vec![0; 40 << 21], vec![0; 40], shape, 1).unwrap();
    let targets = |images| TargetPlan::of(Some(images), &diffusion()).unwrap();
    // 40 images of 8 MiB are kept ready where they are at most 256 MiB.
    assert_eq!(targets(9).memory(&data, false), 9 << 23);
    assert_eq!(targets(90).memory(&data, false), 40 << 23);
    assert_eq!(targets(90).memory(&data, true), 80 << 23);
    assert_eq!(targets(2).memory(&self::data(), true), 2 * 12 * 4 * 4);
}
