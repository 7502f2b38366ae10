//! One block of a product: two tiles by two.

use std::arch::asm;
use std::marker::PhantomData;

use super::{DEEP, Line, SIDE, Sums, TILE, lines};

/// Sums to begin with: those that are there, or none.
macro_rules! begin {
    () => {
        "test {add}, {add}\n jz 3f\n \
         tileloadd tmm0, [{out} + {wide}]\n tileloadd tmm1, [{out} + {wide} + 64]\n \
         tileloadd tmm2, [{below} + {wide}]\n tileloadd tmm3, [{below} + {wide} + 64]\n jmp 2f\n 3:\n \
         tilezero tmm0\n tilezero tmm1\n tilezero tmm2\n tilezero tmm3"
    };
}

/// Adds the products of the two left tiles that are loaded, 4 and 5, and the two right ones, 6 and 7.
macro_rules! products {
    () => {
        "tdpbf16ps tmm0, tmm4, tmm6\n tdpbf16ps tmm1, tmm4, tmm7\n tdpbf16ps tmm2, tmm5, tmm6\n tdpbf16ps tmm3, tmm5, tmm7"
    };
}

/// Asks for the four lines from `{a} + at + 256·i` on, wherever they are.
macro_rules! ahead {
    ($at:literal, $($i:literal)*) => {
        concat!($(
            "prefetcht0 [{a} + ", $at, " + 256*", $i, "]\n prefetcht0 [{a} + ", $at, " + 256*", $i, " + 64]\n ",
            "prefetcht0 [{a} + ", $at, " + 256*", $i, " + 128]\n prefetcht0 [{a} + ", $at, " + 256*", $i, " + 192]\n ",
        )*)
    };
}

/// Four lines of the next step's left tiles, then one product.
macro_rules! times {
    ($i:literal, $sum:literal, $a:literal, $b:literal) => {
        concat!(
            ahead!(6144, $i),
            "tdpbf16ps tmm",
            $sum,
            ", tmm",
            $a,
            ", tmm",
            $b
        )
    };
}

macro_rules! end {
    () => {
        "tilestored [{out} + {wide}], tmm0\n tilestored [{out} + {wide} + 64], tmm1\n \
         tilestored [{below} + {wide}], tmm2\n tilestored [{below} + {wide} + 64], tmm3"
    };
}

/// A block's sums: what is there or nothing, then the loop's `body` for each step, then back to memory.
macro_rules! sums {
    ($raw:ident, $($body:tt)*) => {
        asm!(
            begin!(),
            "2:",
            $($body)*
            "dec {steps}",
            "jnz 2b",
            end!(),
            a = inout(reg) $raw.a => _,
            b = inout(reg) $raw.b => _,
            steps = inout(reg) $raw.steps => _,
            out = in(reg) $raw.out,
            below = in(reg) $raw.below,
            add = in(reg) $raw.add,
            row = in(reg) 64usize,
            wide = in(reg) $raw.wide,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        )
    };
}

/// Factors and sums of a block, as the loops take them.
struct Raw {
    steps: usize,
    a: *const Line,
    b: *const Line,
    out: *mut f32,
    /// The second tile's rows.
    below: *mut f32,
    /// Bytes between rows of sums.
    wide: usize,
    add: usize,
}

/// Shapes of the eight tiles, as `ldtilecfg` reads them: sixteen rows of 64 bytes.
#[repr(C, align(64))]
struct Shapes([u8; 64]);

const SHAPES: Shapes = {
    let mut bytes = [0; 64];
    bytes[0] = 1; // the only palette
    let mut tile = 0;
    while tile < 8 {
        bytes[16 + 2 * tile] = 64;
        bytes[48 + tile] = TILE as u8;
        tile += 1;
    }
    Shapes(bytes)
};

/// The thread's tiles while a product uses them; without one the system need not save them.
///
/// They are the thread's own, so a session stays on it.
pub(crate) struct Session(PhantomData<*const ()>);

impl Session {
    /// # Panics
    /// Where the unit is not [`super::available`]: a bug of the caller, never of a user.
    pub(crate) fn new() -> Self {
        assert!(super::available(), "no matrix unit");
        // SAFETY: the processor has the instruction, and the process may use it.
        unsafe {
            asm!("ldtilecfg [{}]", in(reg) SHAPES.0.as_ptr(), options(nostack, preserves_flags));
        }
        Self(PhantomData)
    }

    /// `out` (=|+=) `a · b`, `depth` deep, in one part or three. What lies behind `a` comes nearer: the next block's, if it can be.
    ///
    /// # Panics
    /// When something is too short: a bug of the caller, never of a user.
    pub(crate) fn multiply<const PARTS: usize>(
        &self,
        depth: usize,
        a: &[Line],
        b: &[Line],
        out: Sums<'_>,
    ) {
        const { assert!(PARTS == 1 || PARTS == 3) };
        let needed = lines(depth, PARTS);
        assert!(
            depth > 0 && a.len() >= needed && b.len() >= needed,
            "factors of a block"
        );
        assert!(
            (SIDE - 1) * out.stride + SIDE <= out.values.len(),
            "sums of a block"
        );
        let to = out.values.as_mut_ptr();
        let raw = Raw {
            steps: depth.div_ceil(DEEP),
            a: a.as_ptr(),
            b: b.as_ptr(),
            out: to,
            below: to.wrapping_add(TILE * out.stride),
            wide: 4 * out.stride,
            add: out.add.into(),
        };
        // SAFETY: factors and sums are as long as the loops read and write.
        unsafe {
            match PARTS {
                1 => self.rounded(raw),
                _ => self.exact(raw),
            }
        }
    }

    /// Both rounded.
    ///
    /// # Safety
    /// The factors lead to so many steps of two tiles each, and the sums to [`SIDE`] rows.
    unsafe fn rounded(&self, raw: Raw) {
        // SAFETY: the loop reads what the caller has promised, the shapes are loaded, and nothing else uses the tiles.
        unsafe {
            sums!(
                raw,
                "tileloadd tmm4, [{a} + {row}]",
                "tileloadd tmm6, [{b} + {row}]",
                "tileloadd tmm7, [{b} + {row} + 1024]",
                "tileloadd tmm5, [{a} + {row} + 1024]",
                ahead!(4096, 0 1 2 3 4 5 6 7),
                products!(),
                "add {a}, 2048",
                "add {b}, 2048",
            );
        }
    }

    /// Both in three parts: six products of parts, each part loaded twice at most, and as soon as its tile is no longer needed.
    ///
    /// # Safety
    /// The factors lead to so many steps of six tiles each, and the sums to [`SIDE`] rows.
    unsafe fn exact(&self, raw: Raw) {
        // SAFETY: the loop reads what the caller has promised, the shapes are loaded, and nothing else uses the tiles.
        unsafe {
            sums!(
                raw,
                "tileloadd tmm6, [{b} + {row}]",
                "tileloadd tmm4, [{a} + {row} + 4096]",
                "tileloadd tmm7, [{b} + {row} + 1024]",
                "tileloadd tmm5, [{a} + {row} + 5120]",
                // a₃·b₁
                times!(0, 0, 4, 6),
                times!(1, 1, 4, 7),
                "tileloadd tmm4, [{a} + {row} + 2048]",
                times!(2, 2, 5, 6),
                times!(3, 3, 5, 7),
                "tileloadd tmm5, [{a} + {row} + 3072]",
                // a₂·b₁
                times!(4, 0, 4, 6),
                times!(5, 2, 5, 6),
                "tileloadd tmm6, [{b} + {row} + 2048]",
                times!(6, 1, 4, 7),
                times!(7, 3, 5, 7),
                "tileloadd tmm7, [{b} + {row} + 3072]",
                // a₂·b₂
                times!(8, 0, 4, 6),
                times!(9, 1, 4, 7),
                "tileloadd tmm4, [{a} + {row}]",
                times!(10, 2, 5, 6),
                times!(11, 3, 5, 7),
                "tileloadd tmm5, [{a} + {row} + 1024]",
                // a₁·b₂
                times!(12, 0, 4, 6),
                times!(13, 2, 5, 6),
                "tileloadd tmm6, [{b} + {row} + 4096]",
                times!(14, 1, 4, 7),
                times!(15, 3, 5, 7),
                "tileloadd tmm7, [{b} + {row} + 5120]",
                // a₁·b₃
                times!(16, 0, 4, 6),
                times!(17, 2, 5, 6),
                "tileloadd tmm6, [{b} + {row}]",
                times!(18, 1, 4, 7),
                times!(19, 3, 5, 7),
                "tileloadd tmm7, [{b} + {row} + 1024]",
                // a₁·b₁
                times!(20, 0, 4, 6),
                times!(21, 2, 5, 6),
                times!(22, 1, 4, 7),
                times!(23, 3, 5, 7),
                "add {a}, 6144",
                "add {b}, 6144",
            );
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // SAFETY: the processor has the instruction.
        unsafe { asm!("tilerelease", options(nostack, nomem, preserves_flags)) };
    }
}
