//! The words of status conditions: a closed vocabulary, so that every message can be looked up and counted.
//!
//! Words of Gateway API v1.7.0 keep their meaning from there. Our own are marked. A condition says *what* in its
//! reason and *which one, and what to do* in its message.

/// Declares an enum whose variants are their own text.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[doc = $doc:literal])* $word:ident,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $name { $($(#[doc = $doc])* $word,)+ }

        impl $name {
            /// Every word.
            pub const ALL: &[Self] = &[$(Self::$word,)+];

            /// The word as it stands in a status.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$word => stringify!($word),)+ }
            }

            /// When it is used.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$word => concat!($($doc),*).trim_ascii(),)+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// `type` of a condition.
    ConditionType {
        /// The object is valid and in force, or will be.
        Accepted,
        /// The listener cannot be served because another one claims the same.
        Conflicted,
        /// A policy is in force for all, some or none of its target (GEP-713; ours for partial override).
        Enforced,
        /// Callers are let in with any certificate, or none, where certificates are asked for (GEP-91).
        InsecureFrontendValidationMode,
        /// Every unit of use is recorded and counted (ours).
        MeteringComplete,
        /// Two HTTPS listeners share certificates, so that HTTP/2 connections may be reused wrongly (GEP-3567).
        OverlappingTLSConfig,
        /// Some rules of a route are left out, the rest is served.
        PartiallyInvalid,
        /// Every ready gateway serves it.
        Programmed,
        /// A quota is used up (ours).
        QuotaExceeded,
        /// A quota has reached one of its alert thresholds (ours).
        QuotaNearLimit,
        /// Everything that the object refers to exists and may be referred to.
        ResolvedRefs,
        /// The CRDs in the cluster are of a version that we know.
        SupportedVersion,
    }
}

words! {
    /// `reason` of a condition.
    Reason {
        /// Accepted.
        Accepted,
        /// Gateway: no address could be had.
        AddressNotAssigned,
        /// Gateway: an address that was asked for cannot be used.
        AddressNotUsable,
        /// Subscription: the product does not offer the plan (ours).
        PlanNotOffered,
        /// Route: a Service or XBackend that it refers to does not exist.
        BackendNotFound,
        /// Gateway: its spec has chosen so.
        ConfigurationChanged,
        /// Policy: an older policy for the same target wins.
        Conflicted,
        /// Consumer or Subscription: no quota has reached a threshold (ours).
        BelowThresholds,
        /// Consumer: another consumer has the same key (ours).
        DuplicateCredential,
        /// Subscription: another active one has the same consumer and product (ours).
        DuplicateSubscription,
        /// Listener: another listener of the same port and protocol has the same hostname.
        HostnameConflict,
        /// Route: filters of one rule exclude each other.
        IncompatibleFilters,
        /// The object is not valid.
        Invalid,
        /// A CA certificate that it refers to is of a kind that is not supported.
        InvalidCACertificateKind,
        /// A CA certificate that it refers to does not exist or is not one.
        InvalidCACertificateRef,
        /// Listener: a certificate that it refers to does not exist or is not one.
        InvalidCertificateRef,
        /// Gateway: the client certificate for backends does not exist or is not one.
        InvalidClientCertificateRef,
        /// It refers to a kind that is not supported.
        InvalidKind,
        /// GatewayClass or Gateway: the GatewayFleet that it refers to does not exist or is not valid.
        InvalidParameters,
        /// Listener: it allows kinds of routes that do not fit its protocol.
        InvalidRouteKinds,
        /// A Secret's content is not what it should be (ours).
        InvalidSecret,
        /// ListenerSet: one of its listeners is in conflict.
        ListenerConflict,
        /// Gateway: a listener is not ready.
        ListenersNotReady,
        /// Gateway: references of a listener do not lead anywhere.
        ListenersNotResolved,
        /// Gateway: a listener is not valid.
        ListenersNotValid,
        /// Listener: nothing else claims the same.
        NoConflicts,
        /// Route: no listener serves any of its hostnames.
        NoMatchingListenerHostname,
        /// Route: the parent has no such listener or port.
        NoMatchingParent,
        /// Gateway: what serves it cannot be made in the cluster.
        NoResources,
        /// Consumer or Subscription: no quota is used up (ours).
        NotUsedUp,
        /// BackendTLSPolicy: none of its CA certificates can be used.
        NoValidCACertificate,
        /// ListenerSet: its Gateway does not allow it.
        NotAllowed,
        /// Route: the listeners do not allow its kind or namespace.
        NotAllowedByListeners,
        /// Policy: more specific policies override it everywhere (ours, after GEP-713).
        Overridden,
        /// Listener: its hostname overlaps with another one's.
        OverlappingHostnames,
        /// Listener: its certificate covers another listener's hostname.
        OverlappingCertificates,
        /// ListenerSet: its Gateway is not accepted.
        ParentNotAccepted,
        /// Nothing is known yet.
        Pending,
        /// Listener: the port cannot be used.
        PortUnavailable,
        /// Served.
        Programmed,
        /// Listener: another listener speaks another protocol on the same port.
        ProtocolConflict,
        /// It refers into another namespace, which no ReferenceGrant allows.
        RefNotPermitted,
        /// References lead where they should.
        ResolvedRefs,
        /// Consumer or AlertPolicy: a Secret that it refers to does not exist (ours).
        SecretNotFound,
        /// The CRDs are of a supported version.
        SupportedVersion,
        /// Policy: its target does not exist.
        TargetNotFound,
        /// Consumer or Subscription: a quota has reached one of its thresholds (ours).
        ThresholdReached,
        /// ListenerSet: its Gateway has too many listeners already.
        TooManyListeners,
        /// GatewayClass: not of a kind that we support.
        Unsupported,
        /// Gateway: an address of a type that is not supported.
        UnsupportedAddress,
        /// Listener or backend: a protocol that is not supported.
        UnsupportedProtocol,
        /// Route or listener: a value that is not supported.
        UnsupportedValue,
        /// The CRDs are of a version that we do not know.
        UnsupportedVersion,
        /// Consumer or Subscription: a quota is used up (ours).
        UsedUp,
    }
}

#[cfg(test)]
mod tests {
    use super::{ConditionType, Reason};

    #[test]
    fn words_are_written_as_an_api_server_accepts_them() {
        let pattern =
            |word: &str| word.starts_with(|first: char| first.is_ascii_uppercase()) && word.len() < 64;
        assert!(ConditionType::ALL.iter().all(|word| pattern(word.as_str())));
        assert!(Reason::ALL.iter().all(|word| pattern(word.as_str())));
        assert_eq!(Reason::RefNotPermitted.to_string(), "RefNotPermitted");
        assert_eq!(serde_json::to_value(ConditionType::ResolvedRefs).unwrap(), "ResolvedRefs");
    }
}
