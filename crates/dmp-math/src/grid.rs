//! From values on one grid of points to another over the same area.

/// The linear map that interpolates bilinearly from a grid of `from` rows and columns to one of `to`: row-major `[to, from]`,
/// each row of sum one. Points are the centres of equal cells, and beyond the outermost the nearest counts, as in PyTorch's
/// `interpolate` with `align_corners=False`.
pub fn bilinear(from: [usize; 2], to: [usize; 2]) -> Vec<f32> {
    let [rows, columns] = [0, 1].map(|axis| linear(from[axis], to[axis]));
    let mut map = vec![0.0; to[0] * to[1] * from[0] * from[1]];
    let width = from[0] * from[1];
    for (r, row) in rows.iter().enumerate() {
        for (c, column) in columns.iter().enumerate() {
            let weights = &mut map[(r * to[1] + c) * width..][..width];
            for &(y, in_row) in row {
                for &(x, in_column) in column {
                    weights[y * from[1] + x] += (in_row * in_column) as f32;
                }
            }
        }
    }
    map
}

/// For each of `to` points the two of `from` that it lies between, and their weights.
fn linear(from: usize, to: usize) -> Vec<[(usize, f64); 2]> {
    let last = from.saturating_sub(1);
    (0..to)
        .map(|i| {
            let at = (i as f64 + 0.5) * from as f64 / to as f64 - 0.5;
            let at = at.clamp(0.0, last as f64);
            let (before, share) = (at as usize, at.fract());
            [(before, 1.0 - share), ((before + 1).min(last), share)]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(map: &[f32], values: &[f32]) -> Vec<f32> {
        map.chunks(values.len())
            .map(|row| row.iter().zip(values).map(|(w, v)| w * v).sum())
            .collect()
    }

    #[test]
    fn the_same_grid_is_left_as_it_is() {
        let map = bilinear([3, 2], [3, 2]);
        let values = [1.0, -2.0, 3.5, 4.0, 0.0, 7.0];
        assert_eq!(apply(&map, &values), values);
    }

    /// `torch.nn.functional.interpolate(…, mode="bilinear", align_corners=False)` of these.
    #[test]
    fn as_pytorch_interpolates() {
        let row = apply(&bilinear([1, 2], [1, 4]), &[0.0, 1.0]);
        assert_eq!(row, [0.0, 0.25, 0.75, 1.0]);
        let found = apply(&bilinear([2, 2], [3, 1]), &[0.0, 1.0, 2.0, 3.0]);
        assert_eq!(found, [0.5, 1.5, 2.5]);
    }

    #[test]
    fn a_constant_stays_one() {
        for to in [[1, 1], [2, 7], [5, 4], [9, 3]] {
            for value in apply(&bilinear([4, 3], to), &[2.5; 12]) {
                assert!((value - 2.5).abs() < 1e-6, "{to:?}: {value}");
            }
        }
    }
}
