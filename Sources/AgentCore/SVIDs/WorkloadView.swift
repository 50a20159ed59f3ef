import NIOConcurrencyHelpers
import SPIFFE

/// Everything an X.509 workload is told, as of one moment: its identities in order, its own trust
/// domain's bundle and those it federates with.
///
/// Workloads with the same entries share one view, and with it the bytes it is sent as.
package final class X509View: Sendable {
    /// Equal keys mean equal content.
    package struct Key: Hashable, Sendable {
        /// Numbers of the SVIDs, in order.
        var identities: [UInt64]
        /// The identities' hints as bytes, or nothing when none has one.
        var hints: [[UInt8]]
        var bundles: [UInt64]
    }

    package struct Identity: Sendable {
        package let svid: IssuedX509SVID
        package let entry: AuthorizedEntry
    }

    package let key: Key
    /// At least one; the first is the default identity.
    package let identities: [Identity]
    package let ownBundle: AgentBundle
    package let federatedBundles: [AgentBundle]
    /// Where the edge keeps the view's serialised form, made by the first who needs it.
    package let encoded = EncodedForm()

    init(
        key: Key, identities: [Identity], ownBundle: AgentBundle, federatedBundles: [AgentBundle]
    ) {
        self.key = key
        self.identities = identities
        self.ownBundle = ownBundle
        self.federatedBundles = federatedBundles
    }
}

/// The WIT-SVIDs that a stream is told, as of one moment, in order.
package final class WITView: Sendable {
    /// Equal keys mean equal content.
    struct Key: Hashable, Sendable {
        /// Numbers of the SVIDs, in order.
        var identities: [UInt64]
        /// The identities' hints as bytes.
        var hints: [[UInt8]]
    }

    package struct Identity: Sendable {
        package let svid: IssuedWITSVID
        package let entry: AuthorizedEntry
    }

    let key: Key
    /// At least one; the first is the default identity.
    package let identities: [Identity]
    package let encoded = EncodedForm()

    init(key: Key, identities: [Identity]) {
        self.key = key
        self.identities = identities
    }
}

/// The bundles a workload may verify others with, as of one moment; our own trust domain's comes
/// first.
package final class BundleView: Sendable {
    package let bundles: [AgentBundle]
    let versions: [UInt64]
    package let encoded = EncodedForm()

    init(bundles: [AgentBundle], versions: [UInt64]) {
        self.bundles = bundles
        self.versions = versions
    }
}

/// A value's serialised form, made once and shared by all who send it.
package final class EncodedForm: Sendable {
    private let form = NIOLockedValueBox<(any Sendable)?>(nil)

    package init() {}

    /// The form; `make` runs only the first time. One form, and so one type, per value.
    package func get<Form: Sendable>(_ make: () throws -> Form) rethrows -> Form {
        if let form = self.form.withLockedValue({ $0 }) as? Form { return form }
        let made = try make()
        return self.form.withLockedValue { form in
            if let first = form as? Form { return first }
            form = made
            return made
        }
    }
}
