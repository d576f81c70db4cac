//! The invariants, checked while a run goes on and at its end.

use std::collections::{BTreeMap, BTreeSet};

use analytics_record::SegmentName;
use analytics_record::segment::{Hash, Header, Totals};
use analytics_record::wire::StreamMark;

use crate::gateway::Gateway;
use crate::store::Store;

#[derive(Debug, Default)]
pub(crate) struct Checks {
    contents: BTreeMap<SegmentName, (Hash, Totals)>,
    /// When completeness through a time was declared.
    declared: Vec<(u64, u64)>,
    pub late: BTreeSet<SegmentName>,
    /// Some gateway's clock was set back.
    pub stepped_back: bool,
}

impl Checks {
    /// M1: one name, one content.
    pub(crate) fn shipped(&mut self, bytes: &[u8]) -> Result<(), String> {
        let header = Header::parse(bytes).map_err(|error| error.to_string())?;
        let known = self.contents.entry(header.name).or_insert((header.content, header.totals));
        if known.0 == header.content { Ok(()) } else { Err(format!("M1: {} has two contents", header.name)) }
    }

    /// M2: what a mark covers is in the store, without a hole, once.
    pub(crate) fn marks(marks: &[StreamMark], store: &Store) -> Result<(), String> {
        for mark in marks {
            for seq in 0..mark.audited {
                let name = mark.stream.segment(seq);
                let copies = store.copies(name);
                if copies != 1 {
                    return Err(format!("M2: {name} is marked audited and stored {copies} times"));
                }
            }
        }
        Ok(())
    }

    /// M5: what a gateway deletes is in the store.
    pub(crate) fn deleted(deleted: &[SegmentName], store: &Store) -> Result<(), String> {
        match deleted.iter().find(|name| store.copies(**name) != 1) {
            Some(name) => Err(format!("M5: {name} was deleted and is stored {} times", store.copies(*name))),
            None => Ok(()),
        }
    }

    /// Completeness only grows.
    pub(crate) fn completeness(&mut self, through: Option<u64>, now_us: u64) -> Result<(), String> {
        let Some(through) = through else { return Ok(()) };
        match self.declared.last() {
            Some((last, _)) if *last > through => {
                Err(format!("M6: completeness went back from {last} to {through}"))
            }
            Some((last, _)) if *last == through => Ok(()),
            _ => {
                self.declared.push((through, now_us));
                Ok(())
            }
        }
    }

    /// M3, M4, M6 and M8, once everything has come to rest.
    pub(crate) fn finish(&self, gateways: &[Gateway], store: &Store) -> Result<(), String> {
        for name in gateways.iter().flat_map(|gateway| &gateway.promised) {
            let copies = store.copies(*name);
            if copies != 1 {
                return Err(format!("M3: {name} was sealed and is stored {copies} times"));
            }
        }
        Self::rows_once(store)?;
        self.control_totals(store)?;
        for (index, gateway) in gateways.iter().enumerate() {
            conserved(index as u8 + 1, gateway, store)?;
        }
        self.nothing_came_late(store)
    }

    /// M3: every detailed row is there once.
    fn rows_once(store: &Store) -> Result<(), String> {
        let mut seen = BTreeSet::new();
        for commit in &store.commits {
            let ids = commit.block.column("request_id").ok_or("no request_id")?;
            for row in 0..commit.block.rows {
                let id = ids.bytes16(row).ok_or("no request_id")?;
                if *id != [0; 16] && !seen.insert(*id) {
                    return Err(format!("M3: a request of {} is stored twice", commit.name));
                }
            }
        }
        Ok(())
    }

    /// M8: what the store can recompute is what the headers said.
    fn control_totals(&self, store: &Store) -> Result<(), String> {
        for commit in &store.commits {
            let totals = Totals::of_block(&commit.block);
            if self.contents.get(&commit.name).map(|(_, totals)| *totals) != totals {
                return Err(format!("M8: {} does not add up to its header", commit.name));
            }
        }
        Ok(())
    }

    /// M6: rows up to a declared time were there when it was declared, or came with a named correction.
    fn nothing_came_late(&self, store: &Store) -> Result<(), String> {
        for commit in &store.commits {
            let times = commit.block.column("ts").ok_or("no ts")?;
            let first = (0..commit.block.rows).filter_map(|row| times.number(row)).min().unwrap_or(u64::MAX);
            let broken = self.declared.iter().any(|(through, at)| *at < commit.at_us && first <= *through);
            if broken && !self.late.contains(&commit.name) {
                return Err(format!("M6: {} changed a time that was declared complete, unsaid", commit.name));
            }
            // Only a clock that was set back across a restart can make rows late here.
            if broken && !self.stepped_back {
                return Err(format!("M6: {} came late without a reason", commit.name));
            }
        }
        Ok(())
    }
}

/// M4: what was appended is in the store, to the request and to the unit of each lease; after a power loss, no more.
fn conserved(number: u8, gateway: &Gateway, store: &Store) -> Result<(), String> {
    let (mut requests, mut units) = (0, BTreeMap::<u64, u64>::new());
    for commit in store.commits.iter().filter(|commit| commit.name.stream.gateway.0[0] == number) {
        let column = |name: &str| commit.block.column(name).ok_or("a column is missing");
        let (n, leases, charged) = (column("n")?, column("charge_lease")?, column("charge_units")?);
        for row in 0..commit.block.rows {
            requests += n.number(row).unwrap_or(0);
            let pairs = leases.numbers(row).unwrap_or(&[]).iter().zip(charged.numbers(row).unwrap_or(&[]));
            pairs.for_each(|(lease, u)| *units.entry(*lease).or_default() += u);
        }
    }
    let sum = |map: &BTreeMap<u64, u64>| map.values().sum::<u64>();
    if gateway.lost_power {
        let fewer = requests <= gateway.requests && sum(&units) <= sum(&gateway.units);
        return if fewer {
            Ok(())
        } else {
            Err(format!("M4: gateway {number} stored more than it appended"))
        };
    }
    if requests != gateway.requests {
        return Err(format!(
            "M4: gateway {number} appended {} requests, {requests} are stored",
            gateway.requests
        ));
    }
    if sum(&units) != sum(&gateway.units) {
        return Err(format!("M4: gateway {number} charged {:?}, {units:?} are stored", gateway.units));
    }
    Ok(())
}
