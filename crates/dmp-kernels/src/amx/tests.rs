//! Blocks of tiles against sums in f64.

use proptest::prelude::*;

use super::*;

/// Values of many magnitudes, all 24 bits of them in use.
pub(super) fn values(seed: u32, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let scale = f32::exp2((state >> 28) as f32 - 8.0);
        scale * ((state << 4 >> 8) as f32 / (1 << 23) as f32 - 1.0)
    };
    (0..count).map(|_| next()).collect()
}

fn bf16(x: f32) -> f32 {
    f32::from_bits(u32::from(crate::frozen::bf16::round(x)) << 16)
}

/// `rows × depth` times `depth × count`, the right factor as rows or as columns, with what is left of wider ones around.
fn check<const PARTS: usize>(
    [count, depth, wide]: [usize; 3],
    seed: u32,
    seen: impl Fn(f32) -> f32,
    session: &Session,
) -> Result<(), TestCaseError> {
    let (a, b) = (values(seed, count * depth), values(seed ^ 1, depth * wide));
    let across: Vec<f32> = (0..wide * depth)
        .map(|i| b[i % depth * wide + i / depth])
        .collect();
    let junk = Line([0x7fc0_7fc0; TILE]);
    let mut left = vec![junk; lines(depth, PARTS)];
    // SAFETY: the caller has a session.
    unsafe { rows::<PARTS>(&a, depth, count, depth, &mut left) };
    for transpose in [false, true] {
        let mut right = vec![junk; lines(depth, PARTS)];
        // SAFETY: as above.
        unsafe {
            match transpose {
                false => columns::<PARTS>(&b, wide, wide, depth, &mut right),
                true => transposed::<PARTS>(&across, depth, wide, depth, &mut right),
            }
        }
        // Set where nothing is, then added to that, in rows that are further apart.
        let stride = SIDE + 5;
        let mut sums = vec![f32::NAN; SIDE * stride];
        for add in [false, true] {
            let values = &mut sums[..];
            session.multiply::<PARTS>(
                depth,
                &left,
                &right,
                Sums {
                    values,
                    stride,
                    add,
                },
            );
        }
        for (row, sums) in sums.chunks(stride).enumerate() {
            prop_assert!(
                sums[SIDE..].iter().all(|x| x.is_nan()),
                "written between rows"
            );
            for (column, &twice) in sums[..SIDE].iter().enumerate() {
                let sum = twice / 2.0;
                if row >= count || column >= wide {
                    prop_assert_eq!(sum, 0.0, "outside");
                    continue;
                }
                let products = (0..depth).map(|k| {
                    f64::from(seen(a[row * depth + k])) * f64::from(seen(b[k * wide + column]))
                });
                let want: f64 = products.clone().sum();
                // What sums of so many f32 products are off by; with two parts a single product is off 2⁻¹⁷ of it.
                let size: f64 = products.map(f64::abs).sum();
                let off = (f64::from(sum) - want).abs();
                prop_assert!(
                    off <= size * (4.0 + 2.0 * (depth as f64).sqrt()) * f64::exp2(-24.0),
                    "{sum}, not {want}: {off} of {size}"
                );
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn blocks_are_products(count in 1_usize..=SIDE, depth in 1_usize..200, wide in 1_usize..=SIDE, seed: u32) {
        if !available() {
            return Ok(());
        }
        let session = Session::new();
        check::<1>([count, depth, wide], seed, bf16, &session)?;
        check::<3>([count, depth, wide], seed, |x| x, &session)?;
    }
}

/// A right factor `[inner, wide]`.
struct Plain<'a> {
    values: &'a [f32],
    wide: usize,
}

impl<const PARTS: usize> Right<PARTS> for Plain<'_> {
    fn tiles<'a>(
        &'a self,
        first: usize,
        deep: std::ops::Range<usize>,
        scratch: &'a mut [Line],
    ) -> &'a [Line] {
        let values = &self.values[deep.start * self.wide + first..];
        let count = SIDE.min(self.wide - first);
        // SAFETY: the product has a session.
        unsafe { columns::<PARTS>(values, self.wide, count, deep.len(), scratch) };
        scratch
    }
}

/// More rows and values than stay in the cache at once, and neither is a whole number of blocks.
fn whole<const PARTS: usize>([count, inner, wide]: [usize; 3], seen: impl Fn(f32) -> f32) {
    let (a, b) = (values(7, count * inner), values(8, inner * wide));
    let right = Plain { values: &b, wide };
    let mut out = vec![f32::NAN; count * wide];
    product::<PARTS>(&a, &right, [inner, wide], &mut out);
    let stride = wide + 3;
    let mut packed = vec![f32::NAN; count * stride];
    Left::<PARTS>::pack(&a, inner).product(&right, wide, &mut packed, stride);
    let a: Vec<f64> = a.into_iter().map(|x| seen(x).into()).collect();
    let b: Vec<f64> = b.iter().map(|&x| seen(x).into()).collect();
    for (row, a) in a.chunks_exact(inner).enumerate() {
        for column in 0..wide {
            let products = (a.iter().zip(b[column..].iter().step_by(wide))).map(|(x, y)| x * y);
            let size: f64 = products.clone().map(f64::abs).sum();
            let sum = out[row * wide + column];
            let off = (f64::from(sum) - products.sum::<f64>()).abs();
            assert!(
                off <= size * (4.0 + 2.0 * (inner as f64).sqrt()) * f64::exp2(-24.0),
                "row {row}, column {column}: {sum} is off by {off} of {size}"
            );
            assert_eq!(sum.to_bits(), packed[row * stride + column].to_bits());
        }
    }
    for row in packed.chunks(stride) {
        assert!(
            row[wide..].iter().all(|x| x.is_nan()),
            "written between rows"
        );
    }
}

#[test]
fn products_of_many_rows_and_depths() {
    if !available() {
        return;
    }
    let several = |parts, count: usize, inner| {
        let bytes = count.div_ceil(SIDE) * lines(inner, parts) * size_of::<Line>();
        assert!(
            bytes > product::KEPT && inner > depth(parts),
            "one span holds it all"
        );
    };
    several(3, 601, 910);
    whole::<3>([601, 910, 37], |x| x);
    several(1, 601, 2_077);
    whole::<1>([601, 2_077, 37], bf16);
}
