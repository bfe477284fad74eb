//! Choices, made by bytes.

/// Turns bytes into choices. Where none are left every choice is the first one, so that scenes come to an end.
pub struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    pub fn new(bytes: &'a [u8]) -> Input<'a> {
        Input { rest: bytes }
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.rest.split_first() else { return 0 };
        self.rest = rest;
        *first
    }

    /// One of the numbers below `count`, which is at most 256.
    pub fn below(&mut self, count: usize) -> usize {
        usize::from(self.byte()) % count
    }

    pub fn choose<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// At most so many bytes.
    pub fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (head, rest) = self.rest.split_at(len.min(self.rest.len()));
        self.rest = rest;
        head
    }

    /// A number: mostly a small one, sometimes one at the edge of what there is.
    pub fn number(&mut self) -> i64 {
        const EDGES: [i64; 8] =
            [-1, i64::MAX, i64::MIN, 1 << 31, i32::MAX as i64, i32::MIN as i64, -2, 1 << 32];
        match self.byte() {
            small @ ..=223 => i64::from(small % 32),
            edge => EDGES[usize::from(edge) % EDGES.len()],
        }
    }

    /// The same within 32 bits.
    pub fn int(&mut self) -> i32 {
        self.number() as i32
    }
}
