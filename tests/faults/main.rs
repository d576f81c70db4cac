//! What goes wrong on one machine: the store or analytics away, a full disk, damaged files. Traffic does not notice,
//! counts stay exact, and the product says what is wrong.

mod away;
mod damage;
mod full;
