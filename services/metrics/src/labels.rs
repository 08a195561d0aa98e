//! Counters that differ in one label.

use std::marker::PhantomData;

use crate::Counter;

/// The values of a label, known when the program is built: nothing that a client says ever becomes one.
pub trait Label: Copy + 'static {
    /// What the label is called.
    const NAME: &'static str;
    /// Every value and its text, in the order of [`Label::index`].
    const ALL: &'static [(Self, &'static str)];

    /// The value's place in [`Label::ALL`].
    fn index(self) -> usize;
}

/// A counter for each value of a label.
#[derive(Debug)]
pub struct Counters<L> {
    each: Box<[Counter]>,
    label: PhantomData<L>,
}

impl<L: Label> Default for Counters<L> {
    fn default() -> Self {
        Self { each: L::ALL.iter().map(|_| Counter::new()).collect(), label: PhantomData }
    }
}

impl<L: Label> Counters<L> {
    /// The counter of `value`.
    #[must_use]
    pub fn of(&self, value: L) -> &Counter {
        &self.each[value.index()]
    }

    /// Every value's text and count.
    pub fn read(&self) -> impl Iterator<Item = (&'static str, u64)> {
        L::ALL.iter().zip(&self.each).map(|((_, text), counter)| (*text, counter.get()))
    }
}

/// An enum that is a label: `label! { /// Doc. pub enum Outcome("outcome") { Right = "right", Wrong = "wrong" } }`.
#[macro_export]
macro_rules! label {
    ($(#[$doc:meta])* $vis:vis enum $name:ident($label:literal) { $($(#[$value_doc:meta])* $value:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        $vis enum $name { $($(#[$value_doc])* $value),+ }

        impl $crate::Label for $name {
            const NAME: &'static str = $label;
            const ALL: &'static [(Self, &'static str)] = &[$((Self::$value, $text)),+];

            fn index(self) -> usize {
                self as usize
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use crate::{Counters, Label};

    crate::label! {
        enum Colour("colour") { Red = "red", Blue = "blue" }
    }

    #[test]
    fn each_value_has_a_counter_of_its_own() {
        let counters = Counters::<Colour>::default();
        counters.of(Colour::Blue).add(2);
        assert_eq!(counters.read().collect::<Vec<_>>(), [("red", 0), ("blue", 2)]);
        assert_eq!(Colour::NAME, "colour");
        assert!(Colour::ALL.iter().enumerate().all(|(index, (value, _))| value.index() == index));
    }
}
