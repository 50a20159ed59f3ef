import ArgumentParser
import ControlPlaneProto
import SPIFFE
import ServiceRuntime
import SwiftProtobuf

/// The flag `-output`.
struct OutputFlags: ParsableArguments {
    @Option(name: .go("output"), parsing: .unconditional, help: "pretty or json.")
    var format = OutputFormat.pretty
}

/// How a filter compares sets.
enum SetMatch: String, CaseIterable, ExpressibleByArgument, Sendable {
    case exact, subset, superset, any
}

extension Spire_Api_Types_SPIFFEID {
    /// Parses the value of a flag or of a key in an input file.
    static func parse(_ text: String, flag: String) throws(CommandError) -> Spire_Api_Types_SPIFFEID
    {
        do {
            return Spire_Api_Types_SPIFFEID(try SPIFFEID(text))
        } catch {
            throw CommandError("cannot use -\(flag): \(error.message)")
        }
    }

    init(_ id: SPIFFEID) {
        self = .with {
            $0.trustDomain = id.trustDomain.name
            $0.path = id.path
        }
    }

    /// The whole ID, as it came from the server.
    var text: String { "spiffe://\(self.trustDomain)\(self.path)" }
}

extension Spire_Api_Types_Selector {
    /// Parses `type:value`.
    static func parse(_ text: String) throws(CommandError) -> Spire_Api_Types_Selector {
        do {
            let selector = try Selector(text)
            return .with {
                $0.type = selector.type
                $0.value = selector.value
            }
        } catch {
            throw CommandError("cannot use -selector: \(error.message)")
        }
    }

    /// `type:value`.
    var text: String { "\(self.type):\(self.value)" }
}

extension Spire_Api_Types_SelectorMatch {
    /// The filter of `-selector` and `-matchSelectorsOn`.
    init(_ selectors: [String], _ match: SetMatch) throws(CommandError) {
        self.init()
        for selector in selectors { self.selectors.append(try .parse(selector)) }
        self.match =
            switch match {
            case .exact: .matchExact
            case .subset: .matchSubset
            case .superset: .matchSuperset
            case .any: .matchAny
            }
    }
}

extension Spire_Api_Types_FederatesWithMatch {
    /// The filter of `-federatesWith` and `-matchFederatesWithOn`.
    init(_ trustDomains: [String], _ match: SetMatch) {
        self.init()
        self.trustDomains = trustDomains
        self.match =
            switch match {
            case .exact: .matchExact
            case .subset: .matchSubset
            case .superset: .matchSuperset
            case .any: .matchAny
            }
    }
}
