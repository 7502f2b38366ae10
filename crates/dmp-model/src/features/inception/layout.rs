//! The convolutions of Inception-v3 (Szegedy et al. 1512.00567) in the order in which they run, and the names that
//! the two families of weight files give them.

/// One convolution, with the batch norm and ReLU that follow it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConvSpec {
    /// Name in torchvision's family: pytorch-fid, torch-fidelity.
    pub name: String,
    /// Name in the TorchScript family: StyleGAN, clean-fid.
    pub script_name: String,
    /// Channels in and out.
    pub channels: [usize; 2],
    /// Rows and columns of the kernel.
    pub kernel: [usize; 2],
    /// Step.
    pub stride: usize,
    /// Zeros above and below, left and right.
    pub padding: [usize; 2],
}

/// All 94 of them.
pub fn convolutions() -> Vec<ConvSpec> {
    let mut list = List::default();
    for (name, script_name, channels, kernel, stride, padding) in [
        ("Conv2d_1a_3x3", "conv", [3, 32], 3, 2, 0),
        ("Conv2d_2a_3x3", "conv_1", [32, 32], 3, 1, 0),
        ("Conv2d_2b_3x3", "conv_2", [32, 64], 3, 1, 1),
        ("Conv2d_3b_1x1", "conv_3", [64, 80], 1, 1, 0),
        ("Conv2d_4a_3x3", "conv_4", [80, 192], 3, 1, 0),
    ] {
        list.0.push(ConvSpec {
            name: name.to_owned(),
            script_name: script_name.to_owned(),
            channels,
            kernel: [kernel; 2],
            stride,
            padding: [padding; 2],
        });
    }
    list.block_a("5b", "mixed", 192, 32);
    list.block_a("5c", "mixed_1", 256, 64);
    list.block_a("5d", "mixed_2", 288, 64);
    list.block_b("6a", "mixed_3", 288);
    list.block_c("6b", "mixed_4", 128);
    list.block_c("6c", "mixed_5", 160);
    list.block_c("6d", "mixed_6", 160);
    list.block_c("6e", "mixed_7", 192);
    list.block_d("7a", "mixed_8");
    list.block_e("7b", "mixed_9", 1280);
    list.block_e("7c", "mixed_10", 2048);
    list.0
}

#[derive(Default)]
struct List(Vec<ConvSpec>);

/// A block's name in both families.
#[derive(Clone, Copy)]
struct Block<'a>(&'a str, &'a str);

impl List {
    /// A convolution that keeps the size.
    fn same(
        &mut self,
        block: Block<'_>,
        names: [&str; 2],
        channels: [usize; 2],
        kernel: [usize; 2],
    ) {
        let padding = kernel.map(|side| side / 2);
        self.push(block, names, channels, kernel, 1, padding);
    }

    /// A 3×3 convolution that halves the size.
    fn halving(&mut self, block: Block<'_>, names: [&str; 2], channels: [usize; 2]) {
        self.push(block, names, channels, [3, 3], 2, [0, 0]);
    }

    fn push(
        &mut self,
        Block(block, script): Block<'_>,
        [name, script_name]: [&str; 2],
        channels: [usize; 2],
        kernel: [usize; 2],
        stride: usize,
        padding: [usize; 2],
    ) {
        self.0.push(ConvSpec {
            name: format!("Mixed_{block}.{name}"),
            script_name: format!("{script}.{script_name}"),
            channels,
            kernel,
            stride,
            padding,
        });
    }

    fn block_a(&mut self, name: &str, script: &str, inputs: usize, pool: usize) {
        let block = Block(name, script);
        self.same(block, ["branch1x1", "conv"], [inputs, 64], [1, 1]);
        self.same(block, ["branch5x5_1", "tower.conv"], [inputs, 48], [1, 1]);
        self.same(block, ["branch5x5_2", "tower.conv_1"], [48, 64], [5, 5]);
        self.same(
            block,
            ["branch3x3dbl_1", "tower_1.conv"],
            [inputs, 64],
            [1, 1],
        );
        self.same(
            block,
            ["branch3x3dbl_2", "tower_1.conv_1"],
            [64, 96],
            [3, 3],
        );
        self.same(
            block,
            ["branch3x3dbl_3", "tower_1.conv_2"],
            [96, 96],
            [3, 3],
        );
        self.same(
            block,
            ["branch_pool", "tower_2.conv"],
            [inputs, pool],
            [1, 1],
        );
    }

    fn block_b(&mut self, name: &str, script: &str, inputs: usize) {
        let block = Block(name, script);
        self.halving(block, ["branch3x3", "conv"], [inputs, 384]);
        self.same(
            block,
            ["branch3x3dbl_1", "tower.conv"],
            [inputs, 64],
            [1, 1],
        );
        self.same(block, ["branch3x3dbl_2", "tower.conv_1"], [64, 96], [3, 3]);
        self.halving(block, ["branch3x3dbl_3", "tower.conv_2"], [96, 96]);
    }

    fn block_c(&mut self, name: &str, script: &str, inner: usize) {
        let (block, flat, tall) = (Block(name, script), [1, 7], [7, 1]);
        self.same(block, ["branch1x1", "conv"], [768, 192], [1, 1]);
        self.same(block, ["branch7x7_1", "tower.conv"], [768, inner], [1, 1]);
        self.same(block, ["branch7x7_2", "tower.conv_1"], [inner, inner], flat);
        self.same(block, ["branch7x7_3", "tower.conv_2"], [inner, 192], tall);
        self.same(
            block,
            ["branch7x7dbl_1", "tower_1.conv"],
            [768, inner],
            [1, 1],
        );
        self.same(
            block,
            ["branch7x7dbl_2", "tower_1.conv_1"],
            [inner, inner],
            tall,
        );
        self.same(
            block,
            ["branch7x7dbl_3", "tower_1.conv_2"],
            [inner, inner],
            flat,
        );
        self.same(
            block,
            ["branch7x7dbl_4", "tower_1.conv_3"],
            [inner, inner],
            tall,
        );
        self.same(
            block,
            ["branch7x7dbl_5", "tower_1.conv_4"],
            [inner, 192],
            flat,
        );
        self.same(block, ["branch_pool", "tower_2.conv"], [768, 192], [1, 1]);
    }

    fn block_d(&mut self, name: &str, script: &str) {
        let block = Block(name, script);
        self.same(block, ["branch3x3_1", "tower.conv"], [768, 192], [1, 1]);
        self.halving(block, ["branch3x3_2", "tower.conv_1"], [192, 320]);
        self.same(block, ["branch7x7x3_1", "tower_1.conv"], [768, 192], [1, 1]);
        self.same(
            block,
            ["branch7x7x3_2", "tower_1.conv_1"],
            [192, 192],
            [1, 7],
        );
        self.same(
            block,
            ["branch7x7x3_3", "tower_1.conv_2"],
            [192, 192],
            [7, 1],
        );
        self.halving(block, ["branch7x7x3_4", "tower_1.conv_3"], [192, 192]);
    }

    fn block_e(&mut self, name: &str, script: &str, inputs: usize) {
        let (block, flat, tall) = (Block(name, script), [1, 3], [3, 1]);
        self.same(block, ["branch1x1", "conv"], [inputs, 320], [1, 1]);
        self.same(block, ["branch3x3_1", "tower_conv"], [inputs, 384], [1, 1]);
        self.same(
            block,
            ["branch3x3_2a", "tower_mixed_conv"],
            [384, 384],
            flat,
        );
        self.same(
            block,
            ["branch3x3_2b", "tower_mixed_conv_1"],
            [384, 384],
            tall,
        );
        self.same(
            block,
            ["branch3x3dbl_1", "tower_1_conv"],
            [inputs, 448],
            [1, 1],
        );
        self.same(
            block,
            ["branch3x3dbl_2", "tower_1_conv_1"],
            [448, 384],
            [3, 3],
        );
        self.same(
            block,
            ["branch3x3dbl_3a", "tower_1_mixed_conv"],
            [384, 384],
            flat,
        );
        self.same(
            block,
            ["branch3x3dbl_3b", "tower_1_mixed_conv_1"],
            [384, 384],
            tall,
        );
        self.same(
            block,
            ["branch_pool", "tower_2_conv"],
            [inputs, 192],
            [1, 1],
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_weights_as_published() {
        let all = convolutions();
        assert_eq!(all.len(), 94);
        let weights: usize = all
            .iter()
            .map(|c| c.channels.iter().product::<usize>() * c.kernel.iter().product::<usize>())
            .sum();
        // torchvision's inception_v3 without auxiliary and last classifier and without its norms' 2 · 17 216.
        assert_eq!(weights, 21_751_136);
        let names: std::collections::BTreeSet<_> = all.iter().map(|c| &c.name).collect();
        assert_eq!(names.len(), 94, "every name is there once");
    }
}
