//! Reading a byte slice bit by bit, most significant first.

/// A position in a byte slice.
pub struct BitReader<'a> {
    data: &'a [u8],
    position: usize,
}

impl<'a> BitReader<'a> {
    pub fn new(data: &'a [u8]) -> Self {
        Self { data, position: 0 }
    }

    /// The next `count` bits (at most 32) as a number; `None` when fewer are left.
    pub fn read(&mut self, count: usize) -> Option<u32> {
        let mut value = 0u32;
        for _ in 0..count {
            let byte = self.data.get(self.position / 8)?;
            let bit = (byte >> (7 - self.position % 8)) & 1;
            value = (value << 1) | u32::from(bit);
            self.position += 1;
        }
        Some(value)
    }

    /// An unsigned Exp-Golomb number (H.264 §9.1); `None` when the bits run out or it has more than 32.
    pub fn read_exp_golomb(&mut self) -> Option<u32> {
        let mut zeros = 0usize;
        while self.read(1)? == 0 {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        let rest = self.read(zeros)?;
        Some(((1u32 << zeros) - 1).saturating_add(rest))
    }

    /// Moves on to the next byte boundary.
    pub fn align(&mut self) {
        self.position = self.position.next_multiple_of(8);
    }
}
