//! AMF0, read once from front to back: nothing is built that nobody asked for, and no byte is looked at twice.

/// Containers inside one another.
const DEPTH_MAX: usize = 32;

/// Markers (AMF0 §2.1).
const NUMBER: u8 = 0x00;
const BOOLEAN: u8 = 0x01;
const STRING: u8 = 0x02;
const OBJECT: u8 = 0x03;
const NULL: u8 = 0x05;
const UNDEFINED: u8 = 0x06;
const ECMA_ARRAY: u8 = 0x08;
const OBJECT_END: u8 = 0x09;
const STRICT_ARRAY: u8 = 0x0a;
const DATE: u8 = 0x0b;
const LONG_STRING: u8 = 0x0c;
const UNSUPPORTED: u8 = 0x0d;
const XML_DOCUMENT: u8 = 0x0f;
/// Milliseconds and a time zone.
const DATE_LEN: usize = 8 + 2;

/// One value. What stands in a container is still to be read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum AmfValue<'a> {
    Number(f64),
    Boolean(bool),
    /// A string of at most 65535 bytes; need not be UTF-8.
    Text(&'a [u8]),
    /// An object or ECMA array: [`AmfReader::field`] gives its fields.
    Fields,
    /// A strict array of so many values.
    Items(u32),
    /// Null, undefined, a date, a long string.
    Other,
}

/// Reads values from the front of a message. Every method gives `None` once the bytes are no AMF0, run out, nest too deep, or
/// hold more values than the reader was made for.
#[derive(Debug)]
pub struct AmfReader<'a> {
    rest: &'a [u8],
    values_left: usize,
}

impl<'a> AmfReader<'a> {
    /// A reader that gives up after `values_max` values, nested ones counted.
    pub fn new(bytes: &'a [u8], values_max: usize) -> Self {
        Self { rest: bytes, values_left: values_max }
    }

    /// The next value.
    pub fn value(&mut self) -> Option<AmfValue<'a>> {
        self.values_left = self.values_left.checked_sub(1)?;
        let [marker] = *self.take()?;
        match marker {
            NUMBER => Some(AmfValue::Number(f64::from_be_bytes(*self.take()?))),
            BOOLEAN => Some(AmfValue::Boolean(*self.take()? != [0])),
            STRING => Some(AmfValue::Text(self.text()?)),
            OBJECT => Some(AmfValue::Fields),
            ECMA_ARRAY => self.take::<4>().map(|_| AmfValue::Fields),
            STRICT_ARRAY => Some(AmfValue::Items(u32::from_be_bytes(*self.take()?))),
            NULL | UNDEFINED | UNSUPPORTED => Some(AmfValue::Other),
            DATE => self.take::<DATE_LEN>().map(|_| AmfValue::Other),
            LONG_STRING | XML_DOCUMENT => {
                let len = u32::from_be_bytes(*self.take()?);
                self.take_len(usize::try_from(len).ok()?).map(|_| AmfValue::Other)
            }
            _ => None,
        }
    }

    /// The next field's name; `Some(None)` at the container's end. Its value must be read or skipped before the next.
    pub fn field(&mut self) -> Option<Option<&'a [u8]>> {
        let name = self.text()?;
        if name.is_empty()
            && let Some((&OBJECT_END, rest)) = self.rest.split_first()
        {
            self.rest = rest;
            return Some(None);
        }
        Some(Some(name))
    }

    /// Passes over what `value` holds.
    pub fn skip(&mut self, value: AmfValue<'a>) -> Option<()> {
        self.skip_nested(value, 0)
    }

    fn skip_nested(&mut self, value: AmfValue<'a>, depth: usize) -> Option<()> {
        match value {
            AmfValue::Fields | AmfValue::Items(_) if depth >= DEPTH_MAX => None,
            AmfValue::Fields => {
                while self.field()?.is_some() {
                    let inner = self.value()?;
                    self.skip_nested(inner, depth.saturating_add(1))?;
                }
                Some(())
            }
            AmfValue::Items(count) => (0..count).try_for_each(|_| {
                let inner = self.value()?;
                self.skip_nested(inner, depth.saturating_add(1))
            }),
            AmfValue::Number(_) | AmfValue::Boolean(_) | AmfValue::Text(_) | AmfValue::Other => Some(()),
        }
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let len = u16::from_be_bytes(*self.take()?);
        self.take_len(usize::from(len))
    }

    fn take<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(taken)
    }

    fn take_len(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_behind_whatever_stands_before_them() {
        let mut bytes = vec![ECMA_ARRAY, 0, 0, 0, 9];
        bytes.extend_from_slice(b"\0\x01a\x03\0\x01b\x0a\0\0\0\x02\x05\x06\0\0\x09");
        bytes.extend_from_slice(b"\0\x01c\x0b\0\0\0\0\0\0\0\0\0\0\0\x01d\x0c\0\0\0\x02xy\0\x01e\x02\0\x02hi\0\0\x09");
        let mut reader = AmfReader::new(&bytes, 100);
        assert_eq!(reader.value(), Some(AmfValue::Fields));
        let mut found = Vec::new();
        while let Some(Some(name)) = reader.field() {
            let value = reader.value().expect("a value");
            reader.skip(value).expect("whole");
            found.push((name.to_vec(), value));
        }
        assert_eq!(found.len(), 4);
        assert_eq!(found[3], (b"e".to_vec(), AmfValue::Text(b"hi")));
        assert_eq!(reader.value(), None, "nothing is left");
    }

    #[test]
    fn deep_long_and_cut_values_are_given_up() {
        let deep = [STRICT_ARRAY, 0, 0, 0, 1].repeat(DEPTH_MAX + 2);
        let mut reader = AmfReader::new(&deep, 1000);
        let value = reader.value().expect("an array");
        assert_eq!(reader.skip(value), None, "too deep");

        let many = [&[STRICT_ARRAY, 0xff, 0xff, 0xff, 0xff][..], &[NULL; 5000]].concat();
        let mut reader = AmfReader::new(&many, 100);
        let value = reader.value().expect("an array");
        assert_eq!(reader.skip(value), None, "too many");
        assert_eq!(reader.rest.len(), 5000 - 99, "the rest is not looked at");

        assert_eq!(AmfReader::new(&[STRING, 0, 5, b'x'], 10).value(), None, "cut");
        assert_eq!(AmfReader::new(&[0x11], 10).value(), None, "AMF3");
    }
}
