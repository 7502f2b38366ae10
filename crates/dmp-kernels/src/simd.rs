//! Compiles a pass for several instruction sets and picks one at run time.

/// Defines `pub fn name(args)` whose body is compiled for AVX-512, for AVX2 with FMA, and portably; the
/// best that the CPU has is called. The compiler vectorises the body: write plain loops over slices.
#[macro_export]
macro_rules! vectorised {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $type:ty),* $(,)?) $(-> $ret:ty)? $body:block) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments)]
        $vis fn $name($($arg: $type),*) $(-> $ret)? {
            #[inline(always)]
            #[allow(clippy::too_many_arguments)]
            fn portable($($arg: $type),*) $(-> $ret)? $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
                #[allow(clippy::too_many_arguments)]
                fn avx512($($arg: $type),*) $(-> $ret)? {
                    portable($($arg),*)
                }
                #[target_feature(enable = "avx2,fma")]
                #[allow(clippy::too_many_arguments)]
                fn avx2($($arg: $type),*) $(-> $ret)? {
                    portable($($arg),*)
                }
                static KERNEL: $crate::profile::Kernel = $crate::profile::Kernel::new(stringify!($name));
                KERNEL.time(1, move || match $crate::simd::level() {
                    // SAFETY: the CPU has the features the function is compiled for.
                    $crate::simd::Level::Avx512 => unsafe { avx512($($arg),*) },
                    // SAFETY: as above.
                    $crate::simd::Level::Avx2 => unsafe { avx2($($arg),*) },
                    $crate::simd::Level::Portable => portable($($arg),*),
                })
            }
            #[cfg(not(target_arch = "x86_64"))]
            {
                static KERNEL: $crate::profile::Kernel = $crate::profile::Kernel::new(stringify!($name));
                KERNEL.time(1, move || portable($($arg),*))
            }
        }
    };
}

/// What the CPU offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// 512-bit vectors.
    Avx512,
    /// 256-bit vectors with fused multiply-add.
    Avx2,
    /// Whatever the target guarantees.
    Portable,
}

/// The best level of this CPU; looked up once.
pub fn level() -> Level {
    static LEVEL: std::sync::OnceLock<Level> = std::sync::OnceLock::new();
    *LEVEL.get_or_init(detect)
}

#[cfg(target_arch = "x86_64")]
fn detect() -> Level {
    let has512 = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512bw");
    let has2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
    match (has512 && has2, has2) {
        (true, _) => Level::Avx512,
        (_, true) => Level::Avx2,
        _ => Level::Portable,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn detect() -> Level {
    Level::Portable
}

/// Lanes that reductions keep apart, so that they vectorise and round alike at every level but for FMA.
pub(crate) const LANES: usize = 16;

/// Σ f(i-th elements) over two equally long slices, in [`LANES`] partial sums.
#[inline(always)]
pub(crate) fn sum2(a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (a_chunks, a_rest) = a.as_chunks::<LANES>();
    let (b_chunks, b_rest) = b.as_chunks::<LANES>();
    for (x, y) in a_chunks.iter().zip(b_chunks) {
        for i in 0..LANES {
            lanes[i] += f(x[i], y[i]);
        }
    }
    let mut total: f32 = lanes.iter().sum();
    for (x, y) in a_rest.iter().zip(b_rest) {
        total += f(*x, *y);
    }
    total
}

/// eˣ to about 2 units in the last place, without branches, for x clamped to ±87.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    const LOG2_E: f32 = std::f32::consts::LOG2_E;
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    // Adding 1.5·2²³ rounds to an integer n and leaves it in the low bits.
    const MAGIC: f32 = 12_582_912.0;
    let x = if x < -87.0 { -87.0 } else { x };
    let x = if x > 87.0 { 87.0 } else { x };
    // Fused on purpose: plain `*` and `+` never are, and take half as long again.
    let rounded = x.mul_add(LOG2_E, MAGIC);
    let n = rounded - MAGIC;
    let r = n.mul_add(-LN2_LOW, n.mul_add(-LN2_HIGH, x));
    let p = 1.987_569_1e-4f32;
    let p = p.mul_add(r, 1.398_199_9e-3);
    let p = p.mul_add(r, 8.333_452e-3);
    let p = p.mul_add(r, 4.166_579_6e-2);
    let p = p.mul_add(r, 1.666_666_6e-1);
    let p = p.mul_add(r, 0.5);
    let y = (p * r).mul_add(r, r) + 1.0;
    // 2ⁿ: n + 127 moved to the exponent's place.
    let scale = f32::from_bits(rounded.to_bits().wrapping_add(127) << 23);
    y * scale
}

/// 1/(1 + e⁻ˣ).
#[inline(always)]
pub(crate) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// The largest value.
#[inline(always)]
pub(crate) fn max(values: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for i in 0..LANES {
            lanes[i] = if chunk[i] > lanes[i] {
                chunk[i]
            } else {
                lanes[i]
            };
        }
    }
    lanes
        .iter()
        .chain(rest)
        .fold(f32::NEG_INFINITY, |a, &b| if b > a { b } else { a })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_and_sigmoid_follow_the_standard_library() {
        for i in -8700..=8700 {
            let x = i as f32 / 100.0;
            let want = f64::from(x).exp();
            assert!((f64::from(exp(x)) / want - 1.0).abs() < 3e-7, "exp {x}");
            let want = 1.0 / (1.0 + (-f64::from(x)).exp());
            assert!((f64::from(sigmoid(x)) - want).abs() < 2e-7, "sigmoid {x}");
        }
    }

    #[test]
    fn the_largest_is_found_wherever_it_is() {
        for at in [0, 5, 15, 16, 31, 36] {
            let mut values = [-3.0f32; 37];
            values[at] = -1.0;
            assert_eq!(max(&values), -1.0, "at {at}");
        }
    }

    #[test]
    fn sums_take_every_element_once() {
        let a: Vec<f32> = (0..37).map(|i| i as f32).collect();
        assert_eq!(sum2(&a, &a, |x, _| x), 666.0);
    }
}
