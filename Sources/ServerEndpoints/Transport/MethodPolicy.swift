package import ServerCore

/// Which callers may call which method; everything else is closed.
package enum MethodPolicy {
    /// By full method name.
    package static let methods: [String: [CallerClass]] = {
        var result: [String: [CallerClass]] = [:]
        func add(_ service: String, _ classes: [CallerClass], _ methods: String...) {
            for method in methods { result["\(service)/\(method)"] = classes }
        }
        let operators: [CallerClass] = [.local, .admin]
        add(
            "spire.api.server.agent.v1.Agent", operators, "CountAgents", "ListAgents", "GetAgent",
            "DeleteAgent", "BanAgent", "CreateJoinToken")
        add("spire.api.server.agent.v1.Agent", [.any], "AttestAgent")
        add("spire.api.server.agent.v1.Agent", [.agent], "RenewAgent", "PostStatus")
        add("spire.api.server.bundle.v1.Bundle", [.any], "GetBundle")
        add(
            "spire.api.server.bundle.v1.Bundle", operators, "CountBundles", "AppendBundle",
            "ListFederatedBundles", "BatchCreateFederatedBundle", "BatchUpdateFederatedBundle",
            "BatchSetFederatedBundle", "BatchDeleteFederatedBundle")
        add("spire.api.server.bundle.v1.Bundle", [.local, .admin, .agent], "GetFederatedBundle")
        add(
            "spire.api.server.bundle.v1.Bundle", [.downstream], "PublishJWTAuthority",
            "PublishWITAuthority")
        add(
            "spire.api.server.entry.v1.Entry", operators, "CountEntries", "ListEntries", "GetEntry",
            "BatchCreateEntry", "BatchUpdateEntry", "BatchDeleteEntry")
        add(
            "spire.api.server.entry.v1.Entry", [.agent], "GetAuthorizedEntries",
            "SyncAuthorizedEntries")
        add(
            "spire.api.server.trustdomain.v1.TrustDomain", operators, "ListFederationRelationships",
            "GetFederationRelationship", "BatchCreateFederationRelationship",
            "BatchUpdateFederationRelationship", "BatchDeleteFederationRelationship",
            "RefreshBundle")
        add(
            "cygnet.federation.v1.Federation", operators, "GetStatus", "ListPartnerLimits",
            "SetPartnerLimits", "DeletePartnerLimits", "GetBundleEndpoint")
        add("cygnet.ledger.v1.Ledger", operators, "GetKey")
        add(
            "spire.api.server.svid.v1.SVID", operators, "MintX509SVID", "MintJWTSVID", "MintWITSVID"
        )
        add(
            "spire.api.server.svid.v1.SVID", [.agent], "BatchNewX509SVID", "NewJWTSVID",
            "BatchNewWITSVID")
        add("spire.api.server.svid.v1.SVID", [.downstream], "NewDownstreamX509CA")
        for kind in ["X509", "JWT", "WIT"] {
            add(
                "spire.api.server.localauthority.v1.LocalAuthority", operators,
                "Get\(kind)AuthorityState", "Prepare\(kind)Authority", "Activate\(kind)Authority",
                "Taint\(kind)Authority", "Revoke\(kind)Authority")
        }
        add(
            "spire.api.server.localauthority.v1.LocalAuthority", operators,
            "TaintX509UpstreamAuthority", "RevokeX509UpstreamAuthority")
        add(
            "cygnet.revocation.v1.Revocations", operators, "CreateRevocation", "LiftRevocation",
            "GetRevocation", "ListRevocations", "AwaitRevocation")
        add("cygnet.sync.v1.Sync", [.agent], "Connect")
        add("grpc.health.v1.Health", [.local], "Check", "List", "Watch")
        return result
    }()
}
