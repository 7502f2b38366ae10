//! One block of a product: two tiles by two.

use std::arch::asm;

use super::{DEEP, Line, SIDE, TILE, lines};

macro_rules! zero {
    () => {
        "tilezero tmm0\n tilezero tmm1\n tilezero tmm2\n tilezero tmm3"
    };
}

/// Adds the products of the two left tiles that are loaded, 4 and 5, and the two right ones, 6 and 7.
macro_rules! products {
    () => {
        "tdpbf16ps tmm0, tmm4, tmm6\n tdpbf16ps tmm1, tmm4, tmm7\n tdpbf16ps tmm2, tmm5, tmm6\n tdpbf16ps tmm3, tmm5, tmm7"
    };
}

/// The second pair of tiles is sixteen rows of 128 bytes further down.
macro_rules! store {
    () => {
        "tilestored [{out} + {wide}], tmm0\n tilestored [{out} + {wide} + 64], tmm1\n \
         tilestored [{out} + {wide} + 2048], tmm2\n tilestored [{out} + {wide} + 2112], tmm3"
    };
}

/// A block's sums, [`SIDE`] by [`SIDE`].
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Block(pub(crate) [[f32; SIDE]; SIDE]);

impl Block {
    pub(crate) fn zeros() -> Self {
        Self([[0.0; SIDE]; SIDE])
    }
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
pub(crate) struct Session(());

impl Session {
    /// # Panics
    /// Where the unit is not [`super::available`]: a bug of the caller, never of a user.
    pub(crate) fn new() -> Self {
        assert!(super::available(), "no matrix unit");
        // SAFETY: the processor has the instruction, and the process may use it.
        unsafe {
            asm!("ldtilecfg [{}]", in(reg) SHAPES.0.as_ptr(), options(nostack, preserves_flags));
        }
        Self(())
    }

    /// `out` ← `a · b`, `depth` deep, in one part or three.
    ///
    /// # Panics
    /// When a factor is too short: a bug of the caller, never of a user.
    pub(crate) fn multiply<const PARTS: usize>(
        &self,
        depth: usize,
        a: &[Line],
        b: &[Line],
        out: &mut Block,
    ) {
        const { assert!(PARTS == 1 || PARTS == 3) };
        let needed = lines(depth, PARTS);
        assert!(
            depth > 0 && a.len() >= needed && b.len() >= needed,
            "factors of a block"
        );
        let (a, b) = (a.as_ptr(), b.as_ptr());
        let steps = depth.div_ceil(DEEP);
        // SAFETY: the factors are as long as the loops read.
        unsafe {
            match PARTS {
                1 => self.rounded(steps, a, b, out),
                _ => self.exact(steps, a, b, out),
            }
        }
    }

    /// Both rounded.
    ///
    /// # Safety
    /// The factors lead to so many `steps` of two tiles each.
    unsafe fn rounded(&self, steps: usize, a: *const Line, b: *const Line, out: &mut Block) {
        // SAFETY: the loop reads what the caller has promised, the shapes are loaded, and nothing else uses the tiles.
        unsafe {
            asm!(
                zero!(),
                "2:",
                "tileloadd tmm4, [{a} + {row}]",
                "tileloadd tmm6, [{b} + {row}]",
                "tileloadd tmm7, [{b} + {row} + 1024]",
                "tileloadd tmm5, [{a} + {row} + 1024]",
                products!(),
                "add {a}, 2048",
                "add {b}, 2048",
                "dec {steps}",
                "jnz 2b",
                store!(),
                a = inout(reg) a => _,
                b = inout(reg) b => _,
                steps = inout(reg) steps => _,
                out = in(reg) out.0.as_mut_ptr(),
                row = in(reg) 64usize,
                wide = in(reg) 4 * SIDE,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack),
            );
        }
    }

    /// Both in three parts: six products of parts, each part loaded twice at most.
    ///
    /// # Safety
    /// The factors lead to so many `steps` of six tiles each.
    unsafe fn exact(&self, steps: usize, a: *const Line, b: *const Line, out: &mut Block) {
        // SAFETY: the loop reads what the caller has promised, the shapes are loaded, and nothing else uses the tiles.
        unsafe {
            asm!(
                zero!(),
                "2:",
                // a₃·b₁
                "tileloadd tmm6, [{b} + {row}]",
                "tileloadd tmm7, [{b} + {row} + 1024]",
                "tileloadd tmm4, [{a} + {row} + 4096]",
                "tileloadd tmm5, [{a} + {row} + 5120]",
                products!(),
                // a₂·b₁
                "tileloadd tmm4, [{a} + {row} + 2048]",
                "tileloadd tmm5, [{a} + {row} + 3072]",
                products!(),
                // a₂·b₂
                "tileloadd tmm6, [{b} + {row} + 2048]",
                "tileloadd tmm7, [{b} + {row} + 3072]",
                products!(),
                // a₁·b₂
                "tileloadd tmm4, [{a} + {row}]",
                "tileloadd tmm5, [{a} + {row} + 1024]",
                products!(),
                // a₁·b₃
                "tileloadd tmm6, [{b} + {row} + 4096]",
                "tileloadd tmm7, [{b} + {row} + 5120]",
                products!(),
                // a₁·b₁
                "tileloadd tmm6, [{b} + {row}]",
                "tileloadd tmm7, [{b} + {row} + 1024]",
                products!(),
                "add {a}, 6144",
                "add {b}, 6144",
                "dec {steps}",
                "jnz 2b",
                store!(),
                a = inout(reg) a => _,
                b = inout(reg) b => _,
                steps = inout(reg) steps => _,
                out = in(reg) out.0.as_mut_ptr(),
                row = in(reg) 64usize,
                wide = in(reg) 4 * SIDE,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack),
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
