//! A byte slice read bit by bit, most significant first: LATM knows no bytes.

/// A position in a byte slice.
#[derive(Clone)]
pub(super) struct Bits<'a> {
    data: &'a [u8],
    position: usize,
}

impl<'a> Bits<'a> {
    pub(super) fn new(data: &'a [u8]) -> Self {
        Self { data, position: 0 }
    }

    /// Bits read so far.
    pub(super) fn position(&self) -> usize {
        self.position
    }

    /// The next `count` bits (at most 32) as a number; `None` when fewer are left.
    pub(super) fn read(&mut self, count: usize) -> Option<u32> {
        let mut value = 0u32;
        for _ in 0..count {
            let byte = self.data.get(self.position / 8)?;
            value = (value << 1) | u32::from((byte >> (7 - self.position % 8)) & 1);
            self.position = self.position.saturating_add(1);
        }
        Some(value)
    }

    /// The next bit as a flag.
    pub(super) fn flag(&mut self) -> Option<bool> {
        self.read(1).map(|bit| bit == 1)
    }

    /// The next `count` bits as bytes, the last one filled up with zeros; `None` when fewer are left.
    pub(super) fn take(&mut self, count: usize) -> Option<Vec<u8>> {
        let end = self.position.checked_add(count).filter(|end| *end <= self.data.len().saturating_mul(8))?;
        let shift = self.position % 8;
        let from = self.data.get(self.position / 8..)?;
        let len = count.div_ceil(8);
        let mut bytes: Vec<u8> = match shift {
            0 => from.iter().take(len).copied().collect(),
            _ => (0..len)
                .map(|at| {
                    let high = from.get(at).copied().unwrap_or(0) << shift;
                    let low = from.get(at.saturating_add(1)).copied().unwrap_or(0) >> (8 - shift);
                    high | low
                })
                .collect(),
        };
        if let Some(last) = bytes.last_mut().filter(|_| !count.is_multiple_of(8)) {
            *last &= 0xffu8 << (8 - count % 8);
        }
        self.position = end;
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_taken_as_bytes_from_any_position() {
        let data = [0b1010_1100, 0b0101_0011, 0xff];
        let mut bits = Bits::new(&data);
        assert_eq!(bits.read(3), Some(0b101));
        assert_eq!(bits.take(10), Some(vec![0b0110_0010, 0b1000_0000]));
        assert_eq!(bits.position(), 13);
        assert_eq!(bits.take(12), None, "eleven are left");
        assert_eq!(bits.take(11), Some(vec![0b0111_1111, 0b1110_0000]));
    }
}
