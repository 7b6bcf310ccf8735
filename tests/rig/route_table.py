"""The routes of the application, by who is let in. `tests/stories/test_every_route.py` says what each kind means."""

from __future__ import annotations

OPEN = """
GET /compute
GET /compute/
GET /compute/v2.1
GET /compute/v2.1/
GET /healthz
GET /identity
GET /identity/
GET /identity/v3
GET /identity/v3/
GET /image
GET /image/
GET /image/versions
GET /network
GET /network/
GET /network/v2.0
GET /network/v2.0/
GET /placement
GET /placement/
GET /ui/live.js
GET /ui/sign-in
GET /ui/style.css
"""
"""What tells nothing of the service but that it is there."""
READ = """
GET /compute/v2.1/flavors
GET /compute/v2.1/flavors/detail
GET /compute/v2.1/flavors/{flavor_id}
GET /compute/v2.1/flavors/{flavor_id}/os-extra_specs
GET /compute/v2.1/flavors/{flavor_id}/os-extra_specs/{key}
GET /compute/v2.1/flavors/{flavor_id}/os-flavor-access
GET /compute/v2.1/images
GET /compute/v2.1/images/detail
GET /compute/v2.1/images/{image_id}
GET /compute/v2.1/images/{image_id}/metadata
GET /compute/v2.1/images/{image_id}/metadata/{key}
GET /compute/v2.1/limits
GET /compute/v2.1/os-aggregates
GET /compute/v2.1/os-aggregates/{aggregate_id}
GET /compute/v2.1/os-availability-zone
GET /compute/v2.1/os-availability-zone/detail
GET /compute/v2.1/os-hosts
GET /compute/v2.1/os-hosts/{name}
GET /compute/v2.1/os-hosts/{name}/reboot
GET /compute/v2.1/os-hosts/{name}/shutdown
GET /compute/v2.1/os-hosts/{name}/startup
GET /compute/v2.1/os-hypervisors
GET /compute/v2.1/os-hypervisors/detail
GET /compute/v2.1/os-hypervisors/statistics
GET /compute/v2.1/os-hypervisors/{hypervisor_id}
GET /compute/v2.1/os-hypervisors/{hypervisor_id}/uptime
GET /compute/v2.1/os-hypervisors/{pattern}/search
GET /compute/v2.1/os-hypervisors/{pattern}/servers
GET /compute/v2.1/os-keypairs
GET /compute/v2.1/os-keypairs/{name}
GET /compute/v2.1/os-migrations
GET /compute/v2.1/os-networks
GET /compute/v2.1/os-networks/{network_id}
GET /compute/v2.1/os-tenant-networks
GET /compute/v2.1/os-tenant-networks/{network_id}
GET /compute/v2.1/os-quota-sets/{project}
GET /compute/v2.1/os-quota-sets/{project}/defaults
GET /compute/v2.1/os-quota-sets/{project}/detail
GET /compute/v2.1/os-services
GET /compute/v2.1/servers
GET /compute/v2.1/servers/detail
GET /compute/v2.1/servers/{server_id}
GET /compute/v2.1/servers/{server_id}/ips
GET /compute/v2.1/servers/{server_id}/ips/{label}
GET /compute/v2.1/servers/{server_id}/os-interface
GET /compute/v2.1/servers/{server_id}/os-interface/{port_id}
GET /compute/v2.1/servers/{server_id}/os-server-password
GET /compute/v2.1/servers/{server_id}/metadata
GET /compute/v2.1/servers/{server_id}/metadata/{key}
GET /compute/v2.1/os-simple-tenant-usage
GET /compute/v2.1/os-simple-tenant-usage/{project}
GET /compute/v2.1/servers/{server_id}/os-instance-actions
GET /compute/v2.1/servers/{server_id}/os-instance-actions/{request_id}
GET /compute/v2.1/servers/{server_id}/tags
GET /compute/v2.1/servers/{server_id}/tags/{tag}
GET /compute/v2.1/servers/{server_id}/diagnostics
GET /compute/v2.1/servers/{server_id}/topology
GET /identity/v3/projects
GET /identity/v3/projects/{project}
GET /identity/v3/users
GET /identity/v3/users/{user}
GET /identity/v3/{rest:path}
GET /image/v2/images
GET /image/v2/images/{image_id}
GET /image/v2/images/{image_id}/file
GET /image/v2/images/{image_id}/members
GET /image/v2/schemas/{noun}
GET /image/v2/{rest:path}
GET /metrics
GET /network/v2.0/extensions
GET /network/v2.0/extensions/{alias}
GET /network/v2.0/networks
GET /network/v2.0/networks/{network_id}
GET /network/v2.0/ports
GET /network/v2.0/ports/{port_id}
GET /network/v2.0/quotas/{project_id}
GET /network/v2.0/quotas/{project_id}/default
GET /network/v2.0/quotas/{project_id}/details
GET /network/v2.0/security-groups
GET /network/v2.0/security-groups/{group_id}
GET /network/v2.0/subnets
GET /network/v2.0/subnets/{subnet_id}
GET /network/v2.0/{rest:path}
GET HEAD /openapi.json
GET /placement/allocation_candidates
GET /placement/allocations/{consumer_uuid}
GET /placement/resource_classes
GET /placement/resource_classes/{name}
GET /placement/resource_providers
GET /placement/resource_providers/{uuid}
GET /placement/resource_providers/{uuid}/aggregates
GET /placement/resource_providers/{uuid}/allocations
GET /placement/resource_providers/{uuid}/inventories
GET /placement/resource_providers/{uuid}/inventories/{resource_class}
GET /placement/resource_providers/{uuid}/traits
GET /placement/resource_providers/{uuid}/usages
GET /placement/traits
GET /placement/traits/{name}
GET /placement/usages
GET /ui
GET /ui/fits
GET /ui/guests/{guest_id}
GET /ui/guests/{guest_id}/fits
GET /ui/guests/{guest_id}/live
GET /ui/guests/{guest_id}/repair
GET /ui/hosts/{name}
GET /ui/hosts/{name}/disable
GET /ui/hosts/{name}/enable
GET /ui/hosts/{name}/live
GET /ui/hosts/{name}/pools
GET /ui/hosts/{name}/repin
GET /ui/live
GET /v1/capacity
GET /v1/drift
GET /v1/hosts
GET /v1/hosts/{name}
GET /v1/hosts/{name}/drift
GET /v1/hosts/{name}/history
GET /v1/hosts/{name}/map
GET /v1/hosts/{name}/pools
GET /v1/hosts/{name}/repin
GET /v1/projects/{project}/quota
GET /v1/servers/{server_id}/placement
"""
"""What an account may ask."""
ASK = """
POST /v1/fits
"""
"""What asks, though its method is another."""
CHANGE = """
POST /compute/v2.1/flavors
DELETE PUT /compute/v2.1/flavors/{flavor_id}
POST /compute/v2.1/flavors/{flavor_id}/action
POST /compute/v2.1/flavors/{flavor_id}/os-extra_specs
DELETE PUT /compute/v2.1/flavors/{flavor_id}/os-extra_specs/{key}
DELETE /compute/v2.1/images/{image_id}
POST PUT /compute/v2.1/images/{image_id}/metadata
DELETE PUT /compute/v2.1/images/{image_id}/metadata/{key}
POST /compute/v2.1/os-aggregates
DELETE PUT /compute/v2.1/os-aggregates/{aggregate_id}
POST /compute/v2.1/os-aggregates/{aggregate_id}/action
PUT /compute/v2.1/os-hosts/{name}
POST /compute/v2.1/os-keypairs
DELETE /compute/v2.1/os-keypairs/{name}
DELETE PUT /compute/v2.1/os-quota-sets/{project}
DELETE PUT /compute/v2.1/os-services/{service_id}
POST /compute/v2.1/servers
DELETE PUT /compute/v2.1/servers/{server_id}
POST /compute/v2.1/servers/{server_id}/action
POST /compute/v2.1/servers/{server_id}/remote-consoles
POST PUT /compute/v2.1/servers/{server_id}/metadata
DELETE PUT /compute/v2.1/servers/{server_id}/metadata/{key}
DELETE /compute/v2.1/servers/{server_id}/os-server-password
POST /compute/v2.1/servers/{server_id}/os-interface
DELETE /compute/v2.1/servers/{server_id}/os-interface/{port_id}
DELETE PUT /compute/v2.1/servers/{server_id}/tags
DELETE PUT /compute/v2.1/servers/{server_id}/tags/{tag}
POST /image/v2/images
DELETE PATCH /image/v2/images/{image_id}
PUT /image/v2/images/{image_id}/file
DELETE PATCH POST PUT /image/v2/{rest:path}
DELETE /network/v2.0/quotas/{project_id}
DELETE PATCH POST PUT /identity/v3/{rest:path}
DELETE PATCH POST PUT /network/v2.0/{rest:path}
DELETE PUT /network/v2.0/{kind}/{key}
POST /placement/allocations
DELETE PUT /placement/allocations/{consumer_uuid}
POST /placement/reshaper
POST /placement/resource_classes
DELETE PUT /placement/resource_classes/{name}
POST /placement/resource_providers
DELETE PUT /placement/resource_providers/{uuid}
PUT /placement/resource_providers/{uuid}/aggregates
DELETE POST PUT /placement/resource_providers/{uuid}/inventories
DELETE PUT /placement/resource_providers/{uuid}/inventories/{resource_class}
DELETE PUT /placement/resource_providers/{uuid}/traits
DELETE PUT /placement/traits/{name}
POST /v1/hosts
DELETE /v1/hosts/{name}
DELETE PUT /v1/hosts/{name}/pools
POST /v1/hosts/{name}/adoptions
POST /v1/hosts/{name}/fence
POST /v1/hosts/{name}/repin
POST /v1/hosts/{name}/token
PUT /v1/projects/{project}/quota
POST /v1/servers/{server_id}/rebook
POST /v1/servers/{server_id}/release
"""
"""What an admin may change."""
AGENT = """
POST /agent/v1/guests/{guest_id}
POST /agent/v1/guests/{guest_id}/absence
GET /agent/v1/guests/{guest_id}/config
PUT /agent/v1/guests/{guest_id}/repair
POST /agent/v1/heartbeat
DELETE PUT /agent/v1/host
PUT /agent/v1/host/findings
PUT /agent/v1/host/answer
PUT /agent/v1/host/history
GET /agent/v1/images/{name}
GET /agent/v1/orders
"""
"""What an agent of its own host may ask and report."""

FORM = """
POST /ui/sign-in
POST /ui/sign-out
"""
"""A form of the web page, which is let in from a page of this service alone; none of these requests comes from one."""

CHANGING_FORM = """
POST /ui/guests/{guest_id}/repair
POST /ui/hosts/{name}/disable
POST /ui/hosts/{name}/enable
POST /ui/hosts/{name}/pools
POST /ui/hosts/{name}/repin
"""
"""The same for those who are signed in."""

KINDS = {"FORM": FORM, "CHANGING_FORM": CHANGING_FORM, "OPEN": OPEN, "READ": READ, "ASK": ASK, "CHANGE": CHANGE, "AGENT": AGENT}

OPERATORS_ROUTES = """
POST /compute/v2.1/flavors
DELETE PUT /compute/v2.1/flavors/{flavor_id}
POST /compute/v2.1/flavors/{flavor_id}/action
POST /compute/v2.1/flavors/{flavor_id}/os-extra_specs
DELETE PUT /compute/v2.1/flavors/{flavor_id}/os-extra_specs/{key}
GET /compute/v2.1/flavors/{flavor_id}/os-flavor-access
GET POST /compute/v2.1/os-aggregates
DELETE GET PUT /compute/v2.1/os-aggregates/{aggregate_id}
POST /compute/v2.1/os-aggregates/{aggregate_id}/action
POST /compute/v2.1/os-aggregates/{id}/images
GET /compute/v2.1/os-availability-zone/detail
GET /compute/v2.1/os-hosts
GET PUT /compute/v2.1/os-hosts/{name}
GET /compute/v2.1/os-hosts/{name}/reboot
GET /compute/v2.1/os-hosts/{name}/shutdown
GET /compute/v2.1/os-hosts/{name}/startup
GET /compute/v2.1/os-hypervisors
GET /compute/v2.1/os-hypervisors/detail
GET /compute/v2.1/os-hypervisors/statistics
GET /compute/v2.1/os-hypervisors/{hypervisor_id}
GET /compute/v2.1/os-hypervisors/{hypervisor_id}/uptime
GET /compute/v2.1/os-hypervisors/{pattern}/search
GET /compute/v2.1/os-hypervisors/{pattern}/servers
GET /compute/v2.1/os-migrations
DELETE PUT /compute/v2.1/os-quota-sets/{project}
GET /compute/v2.1/os-services
DELETE PUT /compute/v2.1/os-services/{service_id}
GET /compute/v2.1/os-simple-tenant-usage
GET /compute/v2.1/servers/{server_id}/diagnostics
GET /metrics
"""
"""What members of a project in Keystone may not use, beside everything below `/v1`, `/placement` and `/ui`."""
