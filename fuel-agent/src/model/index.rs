//! Positions in the lists of a request's [`Storage`](super::storage::Storage), of a [`Plan`](super::plan::Plan) and of
//! an [`Inventory`](super::inventory::Inventory).
//!
//! Each list has an index type of its own, so one that belongs to another list does not compile. The plan's lists are
//! the request's in the same order: one index serves both. The inventory's disks have another order, and an index of
//! their own.

/// A list of `Self` whose items are named by an `I`.
///
/// An index is made by walking its list (`plan.disks()`) or by [`next_index`](Self::next_index), and lists only grow.
/// That is why `plan[disk]` is the way to an item, and nothing has to be done where it is not there.
pub trait IndexedBy<I>: std::ops::Index<I> {
    /// Whether the list has such an item: for checks of what something else has made.
    fn has(&self, index: I) -> bool;

    /// The index that the next item has which is added to the list.
    fn next_index(&self) -> I;
}

macro_rules! index_types {
    ($($(#[$doc:meta])* $name:ident)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub usize);
    )+};
}

index_types! {
    /// A chosen disk, in the order of the request.
    DiskIndex
    /// A disk of the node, chosen or not, in the order of the inventory.
    InventoryDiskIndex
    /// An md array, in the order of the request.
    RaidIndex
    /// An LVM physical volume.
    PhysicalVolumeIndex
    /// An LVM volume group.
    VolumeGroupIndex
    /// An LVM logical volume.
    LogicalVolumeIndex
    /// A filesystem or swap space.
    FilesystemIndex
    /// An image; in the request, [`Request::images`](super::request::Request::images).
    ImageIndex
    /// A device that the request uses without making it.
    UndefinedIndex
}

/// Makes `owner[index]`, and `owner.list()` that yields each item with its index, for the lists of `$owner`.
macro_rules! indexed_lists {
    ($owner:ty { $($list:ident: [$index:ident] $item:ty),+ $(,)? }) => {
        $(
            impl std::ops::Index<$index> for $owner {
                type Output = $item;

                #[expect(clippy::indexing_slicing, reason = "made from the list, or checked by `has`")]
                fn index(&self, index: $index) -> &$item {
                    &self.$list[index.0]
                }
            }

            impl std::ops::IndexMut<$index> for $owner {
                #[expect(clippy::indexing_slicing, reason = "made from the list, or checked by `has`")]
                fn index_mut(&mut self, index: $index) -> &mut $item {
                    &mut self.$list[index.0]
                }
            }

            impl $crate::model::index::IndexedBy<$index> for $owner {
                fn has(&self, index: $index) -> bool {
                    index.0 < self.$list.len()
                }

                fn next_index(&self) -> $index {
                    $index(self.$list.len())
                }
            }
        )+

        impl $owner {
            $(
                #[doc = concat!("Each of `", stringify!($list), "` with its index.")]
                pub fn $list(&self) -> impl DoubleEndedIterator<Item = ($index, &$item)> {
                    let items = self.$list.iter().enumerate();
                    items.map(|(position, item)| ($index(position), item))
                }
            )+
        }
    };
}

pub(super) use indexed_lists;
