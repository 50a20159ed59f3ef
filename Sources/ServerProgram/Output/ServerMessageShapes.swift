import ControlPlaneProto
import ServiceRuntime
import SwiftProtobuf

/// A message that commands print with `-output json`.
protocol ShapedMessage: SwiftProtobuf.Message {
    /// Its fields, with what their zero values look like.
    static var shape: MessageShape { get }
}

extension CommandContext {
    /// Prints a message on one line of JSON.
    func printJSON<Message: ShapedMessage>(_ message: Message) throws {
        self.print(try Self.json(message))
    }

    /// A message as one line of JSON.
    static func json<Message: ShapedMessage>(_ message: Message) throws -> String {
        var options = JSONEncodingOptions()
        options.preserveProtoFieldNames = true
        let json = try message.jsonString(options: options)
        return try Message.shape.complete(json: Array(json.utf8))
    }
}

private enum Shapes {
    static let spiffeID = MessageShape(["trust_domain": .text, "path": .text])
    static let selector = MessageShape(["type": .text, "value": .text])
    static let status = MessageShape(["code": .number, "message": .text])
    static let key = MessageShape([
        "public_key": .text, "key_id": .text, "expires_at": .bigNumber, "tainted": .boolean,
    ])
    static let batchItem = MessageShape([
        "status": .message(status), "entry": .message(Spire_Api_Types_Entry.shape),
    ])
    static let count = MessageShape(["count": .number])
    static let relationshipItem = MessageShape([
        "status": .message(status),
        "federation_relationship": .message(Spire_Api_Types_FederationRelationship.shape),
    ])
    static let limits = MessageShape([
        "trust_domain": .text, "accepted_paths": .message(MessageShape(["patterns": .list])),
        "uses": .list, "configured": .boolean,
    ])
    static let trustDomainItem = MessageShape([
        "status": .message(status), "trust_domain": .text,
    ])
}

extension Spire_Api_Types_Entry: ShapedMessage {
    static let shape = MessageShape([
        "id": .text, "spiffe_id": .message(Shapes.spiffeID), "parent_id": .message(Shapes.spiffeID),
        "selectors": .messages(Shapes.selector), "x509_svid_ttl": .number, "federates_with": .list,
        "admin": .boolean, "downstream": .boolean, "expires_at": .bigNumber, "dns_names": .list,
        "revision_number": .bigNumber, "store_svid": .boolean, "jwt_svid_ttl": .number,
        "hint": .text,
        "created_at": .bigNumber,
        "additional_attributes": .message(
            MessageShape(["disable_x509_svid_prefetch": .boolean, "jwt_svid_include_jti": .boolean])
        ),
    ])
}

extension Spire_Api_Types_Agent: ShapedMessage {
    static let shape = MessageShape([
        "id": .message(Shapes.spiffeID), "attestation_type": .text, "x509svid_serial_number": .text,
        "x509svid_expires_at": .bigNumber, "selectors": .messages(Shapes.selector),
        "banned": .boolean,
        "can_reattest": .boolean, "agent_version": .text,
    ])
}

extension Spire_Api_Types_Bundle: ShapedMessage {
    static let shape = MessageShape([
        "trust_domain": .text,
        "x509_authorities": .messages(MessageShape(["asn1": .text, "tainted": .boolean])),
        "jwt_authorities": .messages(Shapes.key), "refresh_hint": .bigNumber,
        "sequence_number": .bigNumber, "wit_authorities": .messages(Shapes.key),
    ])
}

extension Spire_Api_Types_JoinToken: ShapedMessage {
    static let shape = MessageShape(["value": .text, "expires_at": .bigNumber])
}

extension Spire_Api_Server_Entry_V1_ListEntriesResponse: ShapedMessage {
    static let shape = MessageShape([
        "entries": .messages(Spire_Api_Types_Entry.shape), "next_page_token": .text,
    ])
}

extension Spire_Api_Server_Entry_V1_CountEntriesResponse: ShapedMessage {
    static let shape = Shapes.count
}

extension Spire_Api_Server_Entry_V1_BatchCreateEntryResponse: ShapedMessage {
    static let shape = MessageShape(["results": .messages(Shapes.batchItem)])
}

extension Spire_Api_Server_Entry_V1_BatchUpdateEntryResponse: ShapedMessage {
    static let shape = MessageShape(["results": .messages(Shapes.batchItem)])
}

extension Spire_Api_Server_Entry_V1_BatchDeleteEntryResponse: ShapedMessage {
    static let shape = MessageShape([
        "results": .messages(MessageShape(["status": .message(Shapes.status), "id": .text]))
    ])
}

extension Spire_Api_Server_Agent_V1_ListAgentsResponse: ShapedMessage {
    static let shape = MessageShape([
        "agents": .messages(Spire_Api_Types_Agent.shape), "next_page_token": .text,
    ])
}

extension Spire_Api_Server_Agent_V1_CountAgentsResponse: ShapedMessage {
    static let shape = Shapes.count
}

extension Spire_Api_Server_Bundle_V1_CountBundlesResponse: ShapedMessage {
    static let shape = Shapes.count
}

extension Spire_Api_Server_Svid_V1_MintJWTSVIDResponse: ShapedMessage {
    static let shape = MessageShape([
        "svid": .message(
            MessageShape([
                "token": .text, "id": .message(Shapes.spiffeID), "expires_at": .bigNumber,
                "issued_at": .bigNumber, "hint": .text,
            ]))
    ])
}

extension Spire_Api_Types_WITSVID: ShapedMessage {
    static let shape = MessageShape([
        "token": .text, "id": .message(Shapes.spiffeID), "expires_at": .bigNumber,
        "issued_at": .bigNumber, "hint": .text,
    ])
}

extension Spire_Api_Types_FederationRelationship: ShapedMessage {
    static let shape = MessageShape([
        "trust_domain": .text, "bundle_endpoint_url": .text,
        "https_web": .message(.empty),
        "https_spiffe": .message(MessageShape(["endpoint_spiffe_id": .text])),
        "trust_domain_bundle": .message(Spire_Api_Types_Bundle.shape),
    ])
}

extension Spire_Api_Server_Trustdomain_V1_ListFederationRelationshipsResponse: ShapedMessage {
    static let shape = MessageShape([
        "federation_relationships": .messages(Spire_Api_Types_FederationRelationship.shape),
        "next_page_token": .text,
    ])
}

extension Spire_Api_Server_Trustdomain_V1_BatchCreateFederationRelationshipResponse: ShapedMessage {
    static let shape = MessageShape(["results": .messages(Shapes.relationshipItem)])
}

extension Spire_Api_Server_Trustdomain_V1_BatchUpdateFederationRelationshipResponse: ShapedMessage {
    static let shape = MessageShape(["results": .messages(Shapes.relationshipItem)])
}

extension Spire_Api_Server_Trustdomain_V1_BatchDeleteFederationRelationshipResponse: ShapedMessage {
    static let shape = MessageShape(["results": .messages(Shapes.trustDomainItem)])
}

extension Spire_Api_Server_Bundle_V1_ListFederatedBundlesResponse: ShapedMessage {
    static let shape = MessageShape([
        "bundles": .messages(Spire_Api_Types_Bundle.shape), "next_page_token": .text,
    ])
}

extension Spire_Api_Server_Bundle_V1_BatchSetFederatedBundleResponse: ShapedMessage {
    static let shape = MessageShape([
        "results": .messages(
            MessageShape([
                "status": .message(Shapes.status), "bundle": .message(Spire_Api_Types_Bundle.shape),
            ]))
    ])
}

extension Spire_Api_Server_Bundle_V1_BatchDeleteFederatedBundleResponse: ShapedMessage {
    static let shape = MessageShape(["results": .messages(Shapes.trustDomainItem)])
}

extension Cygnet_Federation_V1_GetStatusResponse: ShapedMessage {
    static let shape = MessageShape([
        "server_time": .bigNumber,
        "partners": .messages(
            MessageShape([
                "trust_domain": .text, "bundle_endpoint_url": .text,
                "bundle_endpoint_profile": .text, "endpoint_spiffe_id": .text,
                "configured": .boolean, "has_bundle": .boolean, "sequence_number": .bigNumber,
                "refresh_hint": .bigNumber, "x509_authorities": .number,
                "jwt_authorities": .number, "last_attempt": .bigNumber,
                "last_success": .bigNumber, "last_error": .text, "failures": .number,
                "next_attempt": .bigNumber, "waiting": .boolean,
                "limits": .message(Shapes.limits), "groups": .list,
                "revocations": .message(
                    MessageShape([
                        "published": .boolean, "crls": .number, "status_list": .boolean,
                        "next_update": .bigNumber, "last_success": .bigNumber,
                        "last_error": .text, "waiting": .boolean,
                    ])),
            ])),
        "groups": .messages(MessageShape(["name": .text, "trust_domains": .list])),
    ])
}

extension Cygnet_Federation_V1_PartnerLimits: ShapedMessage {
    static let shape = Shapes.limits
}

extension Cygnet_Federation_V1_ListPartnerLimitsResponse: ShapedMessage {
    static let shape = MessageShape(["limits": .messages(Shapes.limits)])
}

extension Cygnet_Federation_V1_DeletePartnerLimitsResponse: ShapedMessage {
    static let shape = MessageShape.empty
}

extension Google_Protobuf_Empty: ShapedMessage {
    static let shape = MessageShape.empty
}
