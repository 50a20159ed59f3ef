import SPIFFE

// Trust domains and groups stand in one list where entries are written down: `b.test`, `group:city`.
extension Entry {
    /// What the entry federates with, trust domains first.
    package var federationReferences: [String] {
        self.federatesWith.map(\.name)
            + self.federatesWithGroups.map { TrustDomainGroups.prefix + $0 }
    }

    /// Adds a trust domain or a group.
    ///
    /// - Parameter reference: The name of a trust domain, or the SPIFFE ID of something inside, or `group:<name>`.
    /// - Throws: ``ServerError`` `invalidArgument` when it is neither. Whether there is such a group is not looked at.
    package mutating func federate(with reference: String) throws(ServerError) {
        if reference.hasPrefix(TrustDomainGroups.prefix) {
            let name = String(reference.dropFirst(TrustDomainGroups.prefix.count))
            try TrustDomainGroups.check(name)
            return self.federatesWithGroups.append(name)
        }
        do throws(SPIFFEIDError) {
            self.federatesWith.append(try TrustDomain(nameOrID: reference))
        } catch {
            throw ServerError(.invalidArgument, "invalid trust domain: \(error.message)")
        }
    }
}
