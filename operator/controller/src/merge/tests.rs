use crds::conditions::{ConditionType, Reason};
use operator_compile::ParentRef;

use super::*;

const NOW: &str = "2027-01-15T08:00:00Z";
const BEFORE: &str = "2027-01-01T00:00:00Z";
const WRITER: Writer<'_> = Writer { controller: "turnpike.dev/gateway-controller", now: NOW };

fn condition(status: Truth) -> Condition {
    Condition { kind: ConditionType::Accepted, status, reason: Reason::Accepted, message: String::new() }
}

fn route() -> Status {
    let parent = ParentRef { name: "web".to_owned(), ..ParentRef::default() };
    let parents = vec![ParentStatus { parent, conditions: vec![condition(Truth::True)] }];
    Status { generation: Some(2), parents, ..Status::default() }
}

fn live(controller: &str, status: &str) -> Value {
    json!({
        "parentRef": {"name": "web"},
        "controllerName": controller,
        "conditions": [{"type": "Accepted", "status": status, "reason": "Accepted", "lastTransitionTime": BEFORE}],
    })
}

#[test]
fn a_condition_keeps_its_time_until_its_truth_changes() {
    let time = |status: &str| {
        let live = json!({"parents": [live(WRITER.controller, status)]});
        merged(WRITER, &route(), &live)["parents"][0]["conditions"][0].clone()
    };
    assert_eq!(time("True")["lastTransitionTime"], BEFORE);
    assert_eq!(time("False")["lastTransitionTime"], NOW);
    assert_eq!(time("True")["observedGeneration"], 2);
}

#[test]
fn what_is_written_is_not_written_again() {
    let first = merged(WRITER, &route(), &Value::Null);
    let later = Writer { now: "2028-01-01T00:00:00Z", ..WRITER };
    assert_eq!(merged(later, &route(), &Value::Object(first.clone())), first);
}

#[test]
fn entries_of_other_controllers_stay() {
    let other = live("example.com/other", "False");
    let there = json!({"parents": [live(WRITER.controller, "True"), other]});
    let parents = merged(WRITER, &route(), &there)["parents"].clone();
    assert_eq!(parents.as_array().map(Vec::len), Some(2));
    assert_eq!(parents[0], other);
    assert_eq!(parents[1]["controllerName"], WRITER.controller);
}

#[test]
fn an_entry_of_ours_goes_when_its_parent_is_ours_no_more() {
    let other = live("example.com/other", "False");
    let there = json!({"parents": [live(WRITER.controller, "True"), other]});
    assert_eq!(merged(WRITER, &Status::default(), &there)["parents"], json!([other]));
    assert!(merged(WRITER, &Status::default(), &json!({"parents": [other]})).is_empty());
}

#[test]
fn conditions_that_are_not_ours_stay() {
    let status = Status { conditions: vec![condition(Truth::True)], ..Status::default() };
    let foreign = json!({"type": "example.com/Audited", "status": "True", "lastTransitionTime": BEFORE});
    let there = json!({"conditions": [
        {"type": "ResolvedRefs", "status": "False", "lastTransitionTime": BEFORE}, foreign
    ]});
    let conditions = merged(WRITER, &status, &there)["conditions"].clone();
    assert_eq!(conditions.as_array().map(Vec::len), Some(2));
    assert_eq!(conditions[0]["type"], "Accepted");
    assert_eq!(conditions[1], foreign);
}
