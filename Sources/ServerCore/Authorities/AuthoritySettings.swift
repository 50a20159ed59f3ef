package import PluginAPI

extension AuthorityManager {
    package struct Settings: Sendable {
        package var authorityTTL: Duration
        package var x509KeyType: KeyType
        package var jwtKeyType: KeyType
        package var witKeyType: KeyType
        package var subject: X509Subject
        package var issuesJWTSVIDs: Bool
        /// Incubating, hence off.
        package var issuesWITSVIDs: Bool
        /// What stands before `/<authority ID>.crl` in the CRL distribution point of X509-SVIDs; nil leaves the extension
        /// out.
        package var crlDistributionURL: String?

        package init(
            authorityTTL: Duration = .seconds(86_400), x509KeyType: KeyType = .ecP256,
            jwtKeyType: KeyType = .ecP256, witKeyType: KeyType = .ecP256,
            subject: X509Subject = .authority, issuesJWTSVIDs: Bool = true,
            issuesWITSVIDs: Bool = false, crlDistributionURL: String? = nil
        ) {
            self.authorityTTL = authorityTTL
            self.x509KeyType = x509KeyType
            self.jwtKeyType = jwtKeyType
            self.witKeyType = witKeyType
            self.subject = subject
            self.issuesJWTSVIDs = issuesJWTSVIDs
            self.issuesWITSVIDs = issuesWITSVIDs
            self.crlDistributionURL = crlDistributionURL
        }

        func keyType(_ kind: JournalEntry.Kind) -> KeyType {
            switch kind {
            case .x509: self.x509KeyType
            case .jwt: self.jwtKeyType
            case .wit: self.witKeyType
            }
        }

        /// Whether authorities of that kind are made, rotated and used.
        func issues(_ kind: JournalEntry.Kind) -> Bool {
            switch kind {
            case .x509: true
            case .jwt: self.issuesJWTSVIDs
            case .wit: self.issuesWITSVIDs
            }
        }
    }
}
